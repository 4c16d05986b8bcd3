"""Vocabularies that are plain lists: BERT's `vocab.txt`, and GPT-2's `encoder.json` with `vocab.bpe`.

A list of tokens does not say how text is prepared for it, so that comes from the programs the lists were published with: BERT's
tokenization.py (google-research/bert; WordPiece: Wu et al. 2016, arXiv:1609.08144) and GPT-2's encoder.py.
"""

from __future__ import annotations

from typing import Any

from groundup.core.errors import GroundupError
from groundup.core.progress import QUIET, Reporter
from groundup.tokenization.fast import byte_alphabet
from groundup.tokenization.imports.byte_level import GPT2_SPLIT, added_token, byte_level_description

_BERT_ROLES = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_ROLES = {
    "bos_token": ("<s>", "<|endoftext|>"),
    "eos_token": ("</s>", "<|endoftext|>"),
    "pad_token": ("<pad>",),
    "unk_token": ("<unk>",),
}


def wordpiece_description(
    data: bytes, path: object, *, lowercase: bool | None, reporter: Reporter = QUIET
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`tokenizer.json` and `tokenizer_config.json` for a `vocab.txt`, one token a line.

    With `lowercase` text loses case and accents, as for BERT's uncased models. None takes what the vocabulary shows: without
    a capital letter in it, a cased tokenizer would not know one. What was taken is said.
    """
    tokens = [line.rstrip("\r") for line in data.decode("utf-8").split("\n")]
    if tokens and tokens[-1] == "":
        tokens.pop()
    if "[UNK]" not in tokens:
        raise GroundupError(f"{path} has no [UNK], so it is no WordPiece vocabulary as BERT has it")
    vocab = {token: id for id, token in enumerate(tokens)}
    if len(vocab) < len(tokens):
        seen: set[str] = set()
        again = next(token for token in tokens if token in seen or seen.add(token))
        raise GroundupError(f"{path}: token {again!r} stands on two lines; get the file again")
    roles = {role: name for role, name in _BERT_ROLES.items() if name in vocab}
    capitals = sum(token != token.lower() for token in tokens if not (token[:1] == "[" and token[-1:] == "]"))
    if lowercase is None:
        lowercase = capitals == 0
        why = "no token has a capital letter" if lowercase else f"{capitals:,} tokens have capital letters"
        reporter.say(f"read as {'uncased' if lowercase else 'cased'}, because {why} (--lowercase and --cased overrule)")
    elif lowercase and capitals:
        reporter.warn(f"{capitals:,} tokens have capital letters and can never come from lowercased text")
    reporter.say(f"read as a WordPiece vocabulary: {len(vocab):,} tokens, {'uncased' if lowercase else 'cased'}")
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added_token(vocab[name], name) for name in sorted(roles.values(), key=vocab.__getitem__)],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,  # with case
            "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }
    # eos for whoever generates or packs documents: BERT ends a text with [SEP].
    more = {"eos_token": roles.get("sep_token"), "bos_token": roles.get("cls_token"), "do_lower_case": lowercase}
    config = {"tokenizer_class": "PreTrainedTokenizerFast"} | roles | more | {"clean_up_tokenization_spaces": False}
    return description, config


def gpt2_description(
    vocab: dict[str, int], merges_file: bytes, path: object, reporter: Reporter = QUIET
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`tokenizer.json` and `tokenizer_config.json` for GPT-2's two files (also called vocab.json and merges.txt)."""
    merges = []
    for number, line in enumerate(merges_file.decode("utf-8").split("\n"), 1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        pair = line.rstrip("\r").split(" ")
        if len(pair) != 2 or any(token not in vocab for token in (*pair, "".join(pair))):
            raise GroundupError(f"{path}, line {number}: {line[:60]!r} is no merge of two tokens of the vocabulary")
        merges.append(pair)
    alphabet = byte_alphabet()
    if missing := [character for character in alphabet if character not in vocab]:
        raise GroundupError(f"the vocabulary lacks {len(missing)} of the 256 bytes, so it is not GPT-2's kind")
    made = {*alphabet, *("".join(pair) for pair in merges)}
    special = sorted((token for token in vocab if token not in made), key=vocab.__getitem__)
    named = ", ".join(special[:6]) + (" …" if len(special) > 6 else "")
    reporter.say(
        f"read as GPT-2's byte pairs: {len(vocab):,} tokens, {len(merges):,} merges, "
        f"{len(special)} special tokens that no merge makes{f' ({named})' if special else ''}"
    )
    added = [added_token(vocab[token], token) for token in special]
    description = byte_level_description(vocab, merges, added, GPT2_SPLIT)
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    config |= {role: next((name for name in names if name in special), None) for role, names in _ROLES.items()}
    return description, config | {"clean_up_tokenization_spaces": False}
