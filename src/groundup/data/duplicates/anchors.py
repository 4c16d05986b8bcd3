"""Anchors: the few places of a text that equal texts choose alike.

One idea: winnowing (Schleimer, Wilkerson and Aiken 2003, Winnowing: local algorithms for document fingerprinting, section 3).
Of every `window` hashes of `length` bytes in a row the smallest is an anchor. That depends on the length + window - 1
bytes of the window alone; so wherever such a stretch stands again, the same place in it is an anchor again. Of ordinary text,
2 places in window + 1 are anchors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from groundup.data.duplicates.hashing import Stretches, mix

_BLOCK_BYTES = 1 << 20
_BYTES = mix(np.arange(1, 257, dtype=np.uint64))  # 64 random bits for each byte


def anchors(text: bytes, length: int, window: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The anchors of `text`, a block of it at a time: places (int64, in order) and hashes (uint64) of the `length`
    bytes that begin there. Every place is given once; a block may add places before the last of the block before.

    Memory in passing: about 70 MB.
    """
    overlap = length + window - 2
    given = np.zeros(0, np.int64)
    for begin in range(0, max(1, len(text) - overlap), _BLOCK_BYTES):
        values = _BYTES[np.frombuffer(text[begin : begin + _BLOCK_BYTES + overlap], np.uint8)]
        hashes = Stretches(values).every(length)
        chosen = np.flatnonzero(_is_least(hashes, window))
        places, hashes = chosen + begin, hashes[chosen]
        fresh = ~np.isin(places, given)
        yield places[fresh], hashes[fresh]
        given = places[places >= begin + _BLOCK_BYTES]


def _is_least(hashes: np.ndarray, window: int) -> np.ndarray:
    """Whether each is the smallest of some `window` in a row (one of the smallest, if several are equal)."""
    if len(hashes) < window:
        return np.zeros(len(hashes), bool)
    least = _sliding(np.minimum, hashes, window)
    beside = np.zeros(window - 1, np.uint64)
    return _sliding(np.maximum, np.concatenate([beside, least, beside]), window) == hashes


def _sliding(best: Callable[..., np.ndarray], values: np.ndarray, window: int) -> np.ndarray:
    """The best of every `window` values in a row, by windows that double."""
    width = 1
    while width < window:
        step = min(width, window - width)
        values = best(values[:-step], values[step:])
        width += step
    return values
