from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from groundup.data.order import Permutation


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 255, 256, 257, 1000, 65_537])
def test_every_index_comes_exactly_once(n: int) -> None:
    assert sorted(Permutation(n, seed=7)(np.arange(n)).tolist()) == list(range(n))


def test_positions_can_be_asked_for_one_by_one_in_any_order() -> None:
    order = Permutation(1000, seed=3, epoch=2)
    whole = order(np.arange(1000))
    assert [int(order(np.array([p]))[0]) for p in (999, 0, 512)] == whole[[999, 0, 512]].tolist()


def test_the_order_is_the_same_today_and_tomorrow() -> None:
    """A resumed run must read what the first would have; so the order may never change between versions."""
    assert Permutation(10, seed=1, epoch=0)(np.arange(10)).tolist() == [6, 1, 8, 2, 9, 5, 4, 7, 0, 3]


def test_seed_and_epoch_change_the_order() -> None:
    orders = {
        tuple(Permutation(50, seed, epoch)(np.arange(50)).tolist()) for seed in (0, 1, -1, 2**63) for epoch in range(5)
    }
    assert len(orders) == 20


def test_the_next_seed_does_not_repeat_this_seeds_next_epoch() -> None:
    positions = np.arange(1000)
    assert (Permutation(1000, 1, 0)(positions) != Permutation(1000, 0, 1)(positions)).mean() > 0.9


def test_each_place_gets_each_index_equally_often() -> None:
    """Chi-square over 600 epochs of five windows: 4 x 4 degrees of freedom, p = 0.001 at 39."""
    counts = np.zeros((5, 5))
    for epoch in range(600):
        for place, index in enumerate(Permutation(5, 11, epoch)(np.arange(5)).tolist()):
            counts[place, index] += 1
    assert ((counts - 120) ** 2 / 120).sum() < 39


def test_all_orders_of_three_windows_occur_equally_often() -> None:
    orders = Counter(tuple(Permutation(3, 5, epoch)(np.arange(3)).tolist()) for epoch in range(600))
    assert len(orders) == 6
    assert sum((count - 100) ** 2 / 100 for count in orders.values()) < 20.5  # 5 degrees of freedom, p = 0.001


def test_neighbours_are_scattered() -> None:
    """The mean distance of two neighbours in a random order of n is n / 3."""
    order = Permutation(100_000, 0)(np.arange(100_000))
    assert np.abs(np.diff(order)).mean() == pytest.approx(100_000 / 3, rel=0.02)


def test_a_position_beyond_the_end_is_refused() -> None:
    with pytest.raises(AssertionError):
        Permutation(10, 0)(np.array([10]))
