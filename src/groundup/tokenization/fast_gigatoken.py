"""Byte pairs by `gigatoken` (optional): splitting written by hand for each published pattern, and a memory of words.

Its merging is the reference's by the argument in `fast.py`; its splitting is nobody's but its own, and that no proof here
reaches. So it is compared: with the reference on samples when it is built (`fast.py`), by the tests on many texts, and at
use on the first `_WATCHED` characters that pass by; the first difference ends its service in this process.

Its encoder serves one thread at a time, so there are as many as threads ask at once. Release 0.10 never forgets a word it
has seen, so each encoder is made anew after `_RENEWED_AFTER` characters of text.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from groundup.tokenization.patterns import Pattern

Ids = npt.NDArray[np.uint32]

_WATCHED = 100_000
_RENEWED_AFTER = 128_000_000

_GPT2_SPLIT = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}


def gigatoken_is_there() -> bool:
    """Whether the optional library is installed."""
    return importlib.util.find_spec("gigatoken") is not None


class Gigatoken:
    """Encodes texts that are in the normal form the tokenizer wants; any number of threads may use it at once."""

    def __init__(
        self,
        description: dict[str, Any],
        pattern: Pattern,
        encode_slowly: Callable[[str], Ids],
        encode_else: Callable[[str], Ids],
    ) -> None:
        """`encode_slowly` is the reference it is watched by, `encode_else` what serves after a difference.

        Raises what the library raises on a tokenizer that it does not know.
        """
        plain = description | {"added_tokens": [], "normalizer": None, "truncation": None, "padding": None}
        if pattern.name == "gpt2":  # the library knows this pattern by one spelling only
            plain["pre_tokenizer"] = _GPT2_SPLIT
        self._json = json.dumps(plain)
        self._encode_slowly, self._encode_else = encode_slowly, encode_else
        self._idle: list[tuple[Any, int]] = []  # encoders and how many characters each may still see
        self._left_to_watch = _WATCHED
        self.is_trusted = True
        with self._encoder(0):
            pass

    def encode(self, text: str) -> Ids:
        """The ids of one text."""
        if not self.is_trusted:
            return self._encode_else(text)
        with self._encoder(len(text)) as encoder:
            ids = encoder.encode(text)
        return ids if self._left_to_watch <= 0 else self._watched(text, ids)

    def encode_group(self, texts: list[str]) -> list[Ids]:
        """The ids of each text, faster than one by one; other threads run meanwhile."""
        if not texts or not self.is_trusted or self._left_to_watch > 0:
            return [self.encode(text) for text in texts]
        with self._encoder(sum(map(len, texts))) as encoder:
            found = encoder.encode_batch(texts, parallel=False)
        # A ragged array: all ids one after the other, and where each text's end.
        ids, bounds = np.asarray(found.layout.content.data), found.layout.offsets.data.tolist()
        return [ids[start:end] for start, end in itertools.pairwise(bounds)]

    @contextmanager
    def _encoder(self, n_characters: int) -> Iterator[Any]:
        try:
            encoder, left = self._idle.pop()
        except IndexError:
            from gigatoken.gigatoken_rs import load_hf_json

            encoder, left = load_hf_json(self._json), _RENEWED_AFTER
        yield encoder
        if left > n_characters:
            self._idle.append((encoder, left - n_characters))

    def _watched(self, text: str, ids: Ids) -> Ids:
        self._left_to_watch -= len(text)
        expected = self._encode_slowly(text)
        if not np.array_equal(ids, expected):
            self.is_trusted = False
        return expected
