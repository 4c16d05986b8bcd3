r"""A tokenizer as the settings of a GGUF file, and back: `tokenizer.ggml.*` (ggml-org/ggml, docs/gguf.md).

Two kinds are exact in both directions. `gpt2` is byte-level byte pairs; how text is split into words is not in the file, only
a name (`tokenizer.ggml.pre`) that llama.cpp has regexes for in its source (src/llama-vocab.cpp, llm_tokenizer_bpe). So a name
is read only when its regexes are known here, and a tokenizer is written only when its splitter has a name. `llama` is
SentencePiece's byte pairs, pieces with scores. Other kinds (unigram, WordPiece, words) are refused by name.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from groundup.core.errors import GroundupError, unknown_name
from groundup.tokenization.beginning import adds_bos
from groundup.tokenization.fast import merge_pairs
from groundup.tokenization.guard import is_markup
from groundup.tokenization.imports.byte_level import GPT2_SPLIT, added_token, byte_level_description, split_by
from groundup.tokenization.imports.sentencepiece_file import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Piece,
    SentencePieceFile,
)
from groundup.tokenization.imports.sentencepiece_model import sentencepiece_description
from groundup.tokenization.patterns import PATTERNS, find_pattern
from groundup.tokenization.spelling import SPACE, is_byte_name
from groundup.tokenization.tokenizer import Tokenizer

_KEY = "tokenizer.ggml."
_LLAMA3, _QWEN2 = split_by(PATTERNS["llama3"].regex), split_by(PATTERNS["qwen2"].regex)
# Each digit by itself, then GPT-2's words: as the tokenizers of StarCoder, Command R and SmolLM have it.
_DIGITS = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, GPT2_SPLIT]}
_DEFAULT = split_by(r"[\p{P}\$\+<=>\^~\|]+", PATTERNS["gpt2"].regex, r"\p{N}+", r"[0-9][0-9][0-9]")
_FALCON = split_by(r"[\p{P}\$\+<=>\^~\|`]+", PATTERNS["gpt2"].regex, r"[0-9][0-9][0-9]")

# The names whose splitters are exactly these; a file with a vocabulary of another name is refused.
PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("gpt-2", "mpt", "olmo", "jais", "trillion"), GPT2_SPLIT),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "dbrx", "smaug-bpe", "chatglm-bpe"), _LLAMA3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "stablelm2"), _QWEN2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), _DIGITS),
    "default": _DEFAULT,
    "falcon": _FALCON,
}
# Under these, llama.cpp looks a whole word up before it merges.
_WHOLE_WORDS_FIRST = ("llama-bpe", "llama3", "llama-v3")
_ROLES = {"bos": "bos_token_id", "eos": "eos_token_id", "pad": "padding_token_id", "unk": "unknown_token_id"}
# More tokens at which text ends: of a turn, of a message (Llama 3).
_MORE_ENDS = ("eot_token_id", "eom_token_id")


def tokenizer_from_gguf(fields: dict[str, Any], path: Path) -> Tokenizer:
    """The tokenizer in a GGUF file's settings, chat template included.

    Raises `GroundupError` when there is none, or one that cannot be expressed exactly, naming its kind.
    """
    kind = fields.get(f"{_KEY}model")
    tokens: list[str] = fields.get(f"{_KEY}tokens") or []
    if kind is None or not tokens:
        raise GroundupError(f"{path} holds no tokenizer (tokenizer.ggml.tokens is missing); get a file that has one")
    kinds: list[int] = fields.get(f"{_KEY}token_type") or [NORMAL] * len(tokens)
    if len(kinds) != len(tokens):
        raise GroundupError(f"{path}: {len(kinds):,} token types for {len(tokens):,} tokens; get the file again")
    if kind == "gpt2":
        description = _byte_level(fields, tokens, kinds, path)
    elif kind == "llama":
        description = _sentencepiece(fields, tokens, kinds, path)
    else:
        raise GroundupError(
            f"{path} has a tokenizer of kind {kind!r}; only 'gpt2' (byte-level byte pairs) and 'llama' (SentencePiece's byte "
            "pairs) are read exactly; open the model's Hugging Face folder instead"
        )
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    for role, key in _ROLES.items():
        id = fields.get(_KEY + key)
        config[f"{role}_token"] = None
        if id is not None and 0 <= id < len(tokens) and kinds[id] != UNUSED:
            config[f"{role}_token"] = tokens[id]
    bos, add_bos = config["bos_token"], fields.get(f"{_KEY}add_bos_token")
    if bos is not None and (add_bos if add_bos is not None else kind == "llama"):
        config["add_bos_token"] = True
        description["post_processor"] = _begins_with(bos, tokens.index(bos))
    if template := fields.get("tokenizer.chat_template"):
        config["chat_template"] = template
    config["clean_up_tokenization_spaces"] = False
    return Tokenizer(json.dumps(description, ensure_ascii=False, indent=1), config)


def ends_in_gguf(fields: dict[str, Any]) -> tuple[int, ...]:
    """The ids at which text ends, the one for the end of all text first."""
    ids = (fields.get(_KEY + key) for key in ("eos_token_id", *_MORE_ENDS))
    return tuple(dict.fromkeys(id for id in ids if id is not None))


def gguf_from_tokenizer(tokenizer: Tokenizer, vocab_size: int) -> dict[str, Any]:
    """The settings of a GGUF file for a tokenizer, by their full keys; ids up to `vocab_size` without a token are unused.

    Lists of texts, numbers (`scores`) and kinds, and single values. Raises `GroundupError` for a tokenizer that llama.cpp
    has no exact form of, saying why and what else to do.
    """
    description = json.loads(tokenizer.to_json())
    model = description["model"]
    spelled = tokenizer.itos
    tokens = [spelled.get(id, f"[PAD{id}]") for id in range(vocab_size)]
    kinds = [NORMAL if id in spelled else UNUSED for id in range(vocab_size)]
    for token in description.get("added_tokens") or ():
        structure = token["special"] or is_markup(token["content"])
        kinds[token["id"]] = CONTROL if structure else USER_DEFINED
    fields: dict[str, Any] = {}
    if _is_byte_level(description):
        fields[f"{_KEY}model"] = "gpt2"
        fields[f"{_KEY}pre"] = _pre_tokenizer_name(description)
        fields[f"{_KEY}merges"] = [f"{left} {right}" for left, right in merge_pairs(model)]
    elif tokenizer.algorithm == "bpe" and model.get("byte_fallback") and tokenizer.spelling:
        fields[f"{_KEY}model"], fields[f"{_KEY}pre"] = "llama", "default"
        fields[f"{_KEY}scores"] = _scores(description, tokens)
        fields[f"{_KEY}add_space_prefix"] = _puts_space_first(description)
        for id, token in enumerate(tokens):
            if kinds[id] == NORMAL and is_byte_name(token):
                kinds[id] = BYTE
        if tokenizer.unk_id is not None:
            kinds[tokenizer.unk_id] = UNKNOWN
    else:
        raise _refused(f"this tokenizer is of kind {tokenizer.algorithm!r}")
    fields[f"{_KEY}tokens"], fields[f"{_KEY}token_type"] = tokens, kinds
    ids = (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id, tokenizer.unk_id)
    fields |= {_KEY + key: id for key, id in zip(_ROLES.values(), ids, strict=True) if id is not None}
    fields[f"{_KEY}add_bos_token"] = adds_bos(tokenizer)
    fields[f"{_KEY}add_eos_token"] = False
    if tokenizer.chat_template:
        fields["tokenizer.chat_template"] = tokenizer.chat_template
    return fields


def _byte_level(fields: dict[str, Any], tokens: list[str], kinds: list[int], path: Path) -> dict[str, Any]:
    name = fields.get(f"{_KEY}pre") or "default"
    if name not in PRE_TOKENIZERS:
        error = unknown_name("pre-tokenizer (tokenizer.ggml.pre)", name, PRE_TOKENIZERS)
        raise GroundupError(
            f"{path}: {error}; how it splits text is not in the file, so its ids cannot be made exactly"
        )
    merges = [tuple(merge.split(" ", 1)) for merge in fields.get(f"{_KEY}merges") or ()]
    if any(len(pair) != 2 for pair in merges):
        raise GroundupError(f"{path}: a merge in tokenizer.ggml.merges is no pair; get the file again")
    # Unused ids fill the vocabulary up to the model's; no text becomes one.
    vocab = {token: id for id, (token, kind) in enumerate(zip(tokens, kinds, strict=True)) if kind != UNUSED}
    added = [
        added_token(id, tokens[id], special=kind != USER_DEFINED)
        for id, kind in enumerate(kinds)
        if kind in (CONTROL, UNKNOWN, USER_DEFINED)
    ]
    # Some vocabularies lack a few of the 256 bytes (those no text has); then nothing spells them, there as here.
    parts = {part for left, right in merges for part in (left, right, left + right)}
    if absent := sorted(parts - set(vocab)):
        raise GroundupError(f"{path}: a merge names {absent[0]!r}, which is no token; get the file again")
    return byte_level_description(vocab, merges, added, PRE_TOKENIZERS[name], ignore_merges=name in _WHOLE_WORDS_FIRST)


def _sentencepiece(fields: dict[str, Any], tokens: list[str], kinds: list[int], path: Path) -> dict[str, Any]:
    scores = fields.get(f"{_KEY}scores")
    if not scores or len(scores) != len(tokens):
        raise GroundupError(f"{path}: a tokenizer of kind 'llama' needs a score for each token; get the file again")
    n_used = len(tokens) - sum(1 for _ in itertools.takewhile(lambda kind: kind == UNUSED, reversed(kinds)))
    pieces = tuple(Piece(*piece) for piece in zip(tokens[:n_used], scores, kinds, strict=False))
    if not any(piece.kind == UNKNOWN for piece in pieces):
        raise GroundupError(f"{path}: the vocabulary names no unknown token; get the file again")
    roles = {role: fields.get(_KEY + key) for role, key in _ROLES.items() if role != "unk"}
    file = SentencePieceFile(
        algorithm="bpe",
        pieces=pieces,
        byte_fallback=any(piece.kind == BYTE for piece in pieces),
        whitespace_as_suffix=False,
        add_dummy_prefix=bool(fields.get(f"{_KEY}add_space_prefix", True)),
        remove_extra_whitespaces=bool(fields.get(f"{_KEY}remove_extra_whitespaces", False)),
        escape_whitespaces=True,
        normalizer_name="identity",
        charsmap=b"",
        roles={role: id for role, id in roles.items() if id is not None and id < n_used},
    )
    try:
        return sentencepiece_description(file)[0]
    except GroundupError as error:
        raise GroundupError(f"{path}: {error}") from None


def _begins_with(token: str, id: int) -> dict[str, Any]:
    """What puts the beginning of text before a text in tools that follow a `tokenizer.json` to the letter."""
    begin = {"SpecialToken": {"id": token, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": type}} for name, type in (("A", 0), ("B", 1)))
    pair = [begin, first, {"SpecialToken": {"id": token, "type_id": 1}}, second]
    special = {token: {"id": token, "ids": [id], "tokens": [token]}}
    return {"type": "TemplateProcessing", "single": [begin, first], "pair": pair, "special_tokens": special}


def _is_byte_level(description: dict[str, Any]) -> bool:
    return description["model"]["type"] == "BPE" and (description.get("decoder") or {}).get("type") == "ByteLevel"


def _pre_tokenizer_name(description: dict[str, Any]) -> str:
    """The name llama.cpp has for this splitter, or an error that says which there are."""
    splitter, normalizer = description.get("pre_tokenizer"), description.get("normalizer")
    whole_words = bool(description["model"].get("ignore_merges"))
    if normalizer not in (None, {"type": "NFC"}):  # of NFC more in export/llama_cpp.py
        raise _refused(f"this tokenizer changes text first ({normalizer['type']})")
    pattern = find_pattern(splitter)
    for name, theirs in PRE_TOKENIZERS.items():
        same = splitter == theirs if pattern is None else pattern == find_pattern(theirs)
        # For a word that is a token both ways lead to it, unless merges cannot; that is compared in llama.cpp.
        if same and (pattern is None or pattern.name != "llama3" or whole_words == (name in _WHOLE_WORDS_FIRST)):
            return name
    how = f"the pattern {pattern.name!r}" if pattern else "a way that has no name there"
    raise _refused(f"this tokenizer splits text by {how}")


def _refused(why: str) -> GroundupError:
    known = ", ".join(sorted({pattern.name for pre in PRE_TOKENIZERS.values() if (pattern := find_pattern(pre))}))
    return GroundupError(
        f"{why}, and llama.cpp, which reads GGUF files, has no exact counterpart of it: it has byte pairs with the patterns "
        f"{known}, and SentencePiece's byte pairs. The model folder opens in transformers as it is; for GGUF, train with a "
        "tokenizer of `groundup tokenizer train --algorithm bpe --pattern qwen2` (the default)"
    )


def _scores(description: dict[str, Any], tokens: Sequence[str]) -> list[float]:
    """Scores that give the merges' order: llama.cpp joins the neighbours whose joint piece has the highest."""
    products = ["".join(pair) for pair in merge_pairs(description["model"])]
    order = list(dict.fromkeys(products))
    if [name for name, _ in itertools.groupby(products)] != order:
        raise _refused("the merges of this tokenizer come in an order that no scores of pieces can give")
    ranks = {token: -float(rank) for rank, token in enumerate(order)}
    return [ranks.get(token, 0.0) for token in tokens]


def _puts_space_first(description: dict[str, Any]) -> bool:
    """Whether a space is put before a text; raises for what else is done to it, which no setting of the file says."""
    normalizer, splitter = description.get("normalizer") or {}, description.get("pre_tokenizer") or {}
    steps = normalizer["normalizers"] if normalizer.get("type") == "Sequence" else [normalizer] if normalizer else []
    prefix = steps[:1] == [{"type": "Prepend", "prepend": SPACE}]
    words = {"type": "Split", "behavior": "Isolated", "pattern": {"Regex": f"{SPACE}+[^{SPACE}]*"}, "invert": False}
    escape = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    if steps[prefix:] == [escape] and splitter in ({}, words):
        return prefix
    if not steps and splitter.get("type") == "Metaspace" and splitter.get("replacement") == SPACE:
        return splitter.get("prepend_scheme", "always") != "never"
    raise _refused("this SentencePiece tokenizer prepares text in steps of its own")
