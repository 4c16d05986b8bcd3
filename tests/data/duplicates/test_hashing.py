"""Hashes of stretches: a function of what stands there, not of where."""

from __future__ import annotations

import numpy as np

from groundup.data.duplicates.hashing import Stretches, mix


def test_equal_stretches_have_equal_hashes_wherever_they_stand():
    values = mix(np.array([1, 2, 3, 9, 1, 2, 3, 2, 3], np.uint64))
    three = Stretches(values).every(3)
    assert len(three) == 7
    assert three[0] == three[4]
    assert len(set(three.tolist())) == 6
    two = Stretches(values).hashes(np.array([1, 5, 7, 1]), np.array([3, 7, 9, 2]))
    assert two[0] == two[1] == two[2] != two[3]


def test_a_hash_is_the_polynomial_it_says():
    values = [5, 7, 11]
    expected = sum(value * 0x9E3779B97F4A7C15**power for power, value in enumerate(values)) % 2**64
    assert Stretches(np.array([1, *values], np.uint64)).every(3)[1] == mix(np.array([expected], np.uint64))[0]


def test_stretches_longer_than_the_sequence_are_none():
    assert len(Stretches(np.zeros(3, np.uint64)).every(4)) == 0
    assert len(Stretches(np.zeros(0, np.uint64)).every(1)) == 0


def test_half_the_bits_change_with_one():
    values = np.random.default_rng(0).integers(0, 2**64, 1000, np.uint64)
    changed = mix(values) ^ mix(values ^ np.uint64(1))
    assert 31.5 < np.mean([bin(bits).count("1") for bits in changed.tolist()]) < 32.5
