"""The `tokenizer.json` of byte-level byte pairs, whichever file its vocabulary came from (Radford et al. 2019, section 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# GPT-2's own splitter is built into the library.
GPT2_SPLIT: dict[str, Any] = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
_BYTES: dict[str, Any] = GPT2_SPLIT | {"use_regex": False}


def byte_level_description(
    vocab: dict[str, int],
    merges: Sequence[Sequence[str]],
    added: Sequence[dict[str, Any]],
    pre_tokenizer: dict[str, Any],
    *,
    ignore_merges: bool = False,
) -> dict[str, Any]:
    """A parsed `tokenizer.json`; with `ignore_merges` a word that is a token is that token, whatever the merges say."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": list(added),
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": _BYTES if pre_tokenizer != GPT2_SPLIT else GPT2_SPLIT,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": ignore_merges,
            "vocab": vocab,
            "merges": [list(pair) for pair in merges],
        },
    }


def split_by(*regexes: str) -> dict[str, Any]:
    """The pre-tokenizer that splits by each regex in turn (what it matches stands alone), then spells bytes."""
    splits = [_split(regex) for regex in regexes]
    return {"type": "Sequence", "pretokenizers": [*splits, _BYTES]}


def added_token(id: int, content: str, *, special: bool = True) -> dict[str, Any]:
    """An entry of `added_tokens`, looked for in the text as it is."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}
    return {"id": id, "content": content} | flags


def _split(regex: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
