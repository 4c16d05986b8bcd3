"""The order in which windows are read: a permutation that takes no memory and needs no state.

A Feistel network (Luby and Rackoff 1988) mixes the bits of an index reversibly: cut it into two halves and, in turn,
xor each with a hash of the other. Whatever the hash, no two indices meet, so it is a permutation of 2^b numbers; to
permute n < 2^b of them, an index that falls outside [0, n) is sent through again until it falls inside (cycle
walking, Black and Rogaway 2002, section 3). Position p of epoch e is thus a pure function of (seed, e, p): resuming
needs the step and nothing else.
"""

from __future__ import annotations

import numpy as np

_ROUNDS = 8
_MINIMUM_BITS = 6  # with halves of 2 bits, the orders of three windows were measurably (3 %) unequal in frequency


class Permutation:
    """A pseudo-random order of 0 .. n - 1, drawn from (seed, epoch, stream); each source of a mixture is a stream."""

    def __init__(self, n: int, seed: int, epoch: int = 0, stream: int = 0) -> None:
        assert n >= 1, n
        self.n = n
        bits = max((n - 1).bit_length(), _MINIMUM_BITS)
        self._low_bits = np.uint64(bits // 2)
        self._low_mask = np.uint64((1 << (bits // 2)) - 1)
        self._high_mask = np.uint64((1 << (bits - bits // 2)) - 1)
        start = mix(mix(np.array([seed % (1 << 64)], np.uint64)) + np.uint64(epoch)) + np.uint64(stream << 32)
        self._keys = mix(start + np.arange(_ROUNDS, dtype=np.uint64))

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """The indices at `positions` (each in [0, n)), int64, any shape."""
        values = np.asarray(positions).astype(np.uint64)
        assert (values < self.n).all(), "a position is outside the permutation"
        values = self._shuffle(values)
        while (outside := values >= self.n).any():
            values[outside] = self._shuffle(values[outside])
        return values.astype(np.int64)

    def _shuffle(self, values: np.ndarray) -> np.ndarray:
        high, low = values >> self._low_bits, values & self._low_mask
        for key in self._keys.reshape(-1, 2):
            high = high ^ (mix(low + key[0]) & self._high_mask)
            low = low ^ (mix(high + key[1]) & self._low_mask)
        return high << self._low_bits | low


def mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): every input bit reaches every output bit; wraps at 2^64."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
