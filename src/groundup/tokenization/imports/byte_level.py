"""The `tokenizer.json` of byte pairs: what the files of `tiktoken` and of GPT-2 have in common.

One idea: both hold pieces spelled in bytes and differ only in how words are found and merges are told (Radford et al. 2019,
section 2.2), so one description serves both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def byte_level_description(
    vocab: Mapping[str, int],
    merges: Sequence[Sequence[str]],
    special: Mapping[str, int],
    *,
    split_by: str | None,
    ignore_merges: bool = False,
) -> dict[str, Any]:
    """A parsed `tokenizer.json` of byte pairs without any normalisation.

    Words are those of the expression `split_by`; None means GPT-2's, which `tokenizers` has built in. `special` names the special
    tokens, which stand in `vocab` too. With `ignore_merges` a word that is a token is taken whole.
    """
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": split_by is None}
    split = {"type": "Split", "pattern": {"Regex": split_by}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [special_token(id, name) for name, id in sorted(special.items(), key=lambda item: item[1])],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]} if split_by else byte_level,
        "post_processor": None,
        "decoder": byte_level,
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
            "merges": merges,
        },
    }


def special_token(id: int, content: str) -> dict[str, Any]:
    """An entry of `added_tokens` for a special token."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": id, "content": content} | flags
