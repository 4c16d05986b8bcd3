"""A table from hashes to numbers that knows how small it is.

One idea: open addressing with linear probing in two flat arrays (Knuth, The Art of Computer Programming 3, 6.4), so an
entry costs 12 bytes and the empty places, where a Python dict takes about 120. The table grows by half when seven
eighths are full: 14 to 21 bytes an entry, and while it grows the old arrays besides.
"""

from __future__ import annotations

import numpy as np

NONE = 0xFFFFFFFF  # the number that stands for "not there"
_FIRST_SIZE = 1024


class HashTable:
    """Keys are 64-bit hashes (already mixed: a place is key modulo size), values are numbers below 2^32 - 1."""

    def __init__(self) -> None:
        self._used = 0
        self._allocate(_FIRST_SIZE)

    def __len__(self) -> int:
        return self._used

    @property
    def n_bytes(self) -> int:
        return self._keys.nbytes + self._numbers.nbytes

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The number of each key (uint64), NONE where it is not there."""
        keys = _not_zero(keys)
        found = np.full(len(keys), NONE, np.uint32)
        open_, places = np.arange(len(keys)), keys % self._size
        while len(open_):
            there = self._keys[places]
            hit = there == keys[open_]
            found[open_[hit]] = self._numbers[places[hit]]
            on = ~(hit | (there == 0))
            open_, places = open_[on], (places[on] + np.uint64(1)) % self._size
        return found

    def add(self, keys: np.ndarray, numbers: np.ndarray) -> None:
        """Remember each key with its number; a key that is there, or came earlier in `keys`, keeps its first number."""
        keys, first = np.unique(_not_zero(keys), return_index=True)
        numbers = numbers[first]
        while self._used + len(keys) > self._limit:
            self._grow()
        self._put(keys, numbers)

    def first_of(self, key: int, number: int) -> int | None:
        """The number of one key, or None and it is remembered with `number`: `find` and `add` for one, and quick."""
        key, keys = key or 1, self._one_key
        place = key % len(keys)
        while there := keys[place]:
            if there == key:
                return self._one_number[place]
            place = place + 1 if place + 1 < len(keys) else 0
        keys[place], self._one_number[place] = key, number
        self._used += 1
        if self._used > self._limit:
            self._grow()
        return None

    def _allocate(self, size: int) -> None:
        self._size = np.uint64(size)
        self._limit = size * 7 // 8
        self._keys, self._numbers = np.zeros(size, np.uint64), np.zeros(size, np.uint32)
        self._one_key, self._one_number = self._keys.data, self._numbers.data

    def _grow(self) -> None:
        keys, numbers = self._keys, self._numbers
        self._used = 0
        self._allocate(len(keys) * 3 // 2)
        for begin in range(0, len(keys), 1 << 20):
            some = keys[begin : begin + (1 << 20)]
            filled = np.flatnonzero(some)
            self._put(some[filled], numbers[begin + filled])

    def _put(self, keys: np.ndarray, numbers: np.ndarray) -> None:
        """Distinct keys. Of several that want one free place, the last written gets it and the others go on."""
        places = keys % self._size
        while len(keys):
            there = self._keys[places]
            free = there == 0
            self._keys[places[free]] = keys[free]
            placed = free & (self._keys[places] == keys)
            self._numbers[places[placed]] = numbers[placed]
            self._used += int(placed.sum())
            on = ~(placed | (there == keys))
            keys, numbers, places = keys[on], numbers[on], (places[on] + np.uint64(1)) % self._size


def _not_zero(keys: np.ndarray) -> np.ndarray:
    return np.maximum(keys, np.uint64(1))
