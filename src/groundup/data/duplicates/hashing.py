"""Hashing of sequences, many at a time.

One idea: with prefix sums of v[i] B^i modulo 2^64, the polynomial hash of any stretch costs one subtraction and one
product, whatever its length (Karp and Rabin 1987, Efficient randomized pattern-matching algorithms). The elements must
be well mixed 64-bit numbers, as `mix` makes them. These hashes are no defence against somebody who wants them to collide.
"""

from __future__ import annotations

import numpy as np

_BASE = 0x9E3779B97F4A7C15  # odd, so it has an inverse: 2^64 divided by the golden ratio
_INVERSE = pow(_BASE, -1, 1 << 64)


def mix(values: np.ndarray) -> np.ndarray:
    """A random-looking bijection of uint64: the finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class Stretches:
    """Hashes of stretches of one sequence of uint64."""

    def __init__(self, values: np.ndarray) -> None:
        self._shift = _powers(_INVERSE, len(values) + 1)
        self._sums = np.zeros(len(values) + 1, np.uint64)
        np.cumsum(values * _powers(_BASE, len(values)), out=self._sums[1:])

    def hashes(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The hash of values[start:end] for each pair; equal stretches have equal hashes wherever they stand."""
        return mix((self._sums[ends] - self._sums[starts]) * self._shift[starts])

    def every(self, length: int) -> np.ndarray:
        """The hashes of all stretches of `length`, in order; none where the sequence is shorter."""
        if length >= len(self._sums):
            return np.zeros(0, np.uint64)
        return mix((self._sums[length:] - self._sums[:-length]) * self._shift[: len(self._sums) - length])


def _powers(base: int, n: int) -> np.ndarray:
    factors = np.full(n, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint64)
