"""Words that were added to a vocabulary and are no special tokens, such as GPT-NeoX's runs of spaces.

One idea: `tokenizers` looks for them before all else and encodes what stands between them as texts of their own. So a fast encoder
of the vocabulary without them, called for what stands between, gives the same ids. That holds for words that are looked for
all together (all before or all after normalisation) and without regard to their neighbours; the longest that begins first wins.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.uint32]


def added_words(description: dict[str, Any]) -> list[dict[str, Any]]:
    """The added tokens that are no special ones: `tokenizers` looks for them in any text."""
    return [token for token in description.get("added_tokens") or () if not token["special"]]


def can_stand_apart(words: list[dict[str, Any]]) -> bool:
    """Whether what stands between the words is encoded as a text of its own."""
    odd = any(word.get(flag) for word in words for flag in ("single_word", "lstrip", "rstrip"))
    return not odd and len({bool(word.get("normalized")) for word in words}) == 1 and all(w["content"] for w in words)


def around_words(words: dict[str, int], encode: Callable[[str], Ids]) -> Callable[[str], Ids]:
    """An encoder of texts that may hold the words, each with its id, from one that knows none; texts are normalised."""
    ids = {word: np.array([id], np.uint32) for word, id in words.items()}
    longest_first = sorted(ids, key=len, reverse=True)
    split = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")").split

    def encode_around(text: str) -> Ids:
        parts = split(text)
        if len(parts) == 1:
            return encode(text)
        return np.concatenate([ids[part] if i % 2 else encode(part) for i, part in enumerate(parts) if part])

    return encode_around
