"""The order of the sources: counts as close to the shares as whole rows allow, and nobody twice running without need."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.data.interleave import Interleave, rows_per_epoch, turns

weights = st.lists(st.integers(1, 60), min_size=1, max_size=9)


@settings(max_examples=300, deadline=None)
@given(parts=weights)
def test_any_prefix_holds_each_source_within_one_row_of_its_share(parts: list[int]) -> None:
    order, period = np.array(turns(parts)), sum(parts)
    counts = (order[:, None] == np.arange(len(parts))).cumsum(axis=0)
    wanted = np.arange(1, period + 1)[:, None] * np.array(parts) / period
    assert np.abs(counts - wanted).max() < 1
    assert counts[-1].tolist() == parts


@settings(max_examples=300, deadline=None)
@given(parts=weights)
def test_a_source_follows_itself_only_where_there_is_no_other_way(parts: list[int]) -> None:
    """With m of n rows of one source at least 2 m - n of them follow one of their own (around the end of the period too)."""
    order, period = turns(parts), sum(parts)
    twice = [a for a, b in zip(order, order[1:] + order[:1], strict=True) if a == b]
    assert len(twice) == max(0, 2 * max(parts) - period)
    assert set(twice) <= {parts.index(max(parts))}


def test_seven_and_three() -> None:
    assert "".join("AB"[source] for source in turns([7, 3])) == "ABABAABAAA"
    assert turns([1, 1, 1]) == [0, 1, 2]
    assert turns([4]) == [0, 0, 0, 0]


@settings(max_examples=40, deadline=None)
@given(parts=weights, start=st.integers(0, 10**12))
def test_a_position_is_known_without_the_ones_before(parts: list[int], start: int) -> None:
    interleave = Interleave(parts)
    positions = np.arange(start, start + 50)
    sources, places = interleave(positions)
    order = turns(parts)
    assert sources.tolist() == [order[p % len(order)] for p in positions.tolist()]
    before = interleave.counts(start)
    for position, source, place in zip(positions.tolist(), sources.tolist(), places.tolist(), strict=True):
        assert place == before[source]
        before[source] += 1
        assert before.tolist() == interleave.counts(position + 1).tolist()


def test_a_long_period_takes_little_time_and_keeps_its_promise() -> None:
    parts = [4999, 2500, 1250, 625, 400, 200, 25, 1]
    interleave = Interleave(parts)
    assert interleave.period == 10_000
    counts = np.array([interleave.counts(n) for n in range(0, 20_001, 13)])
    wanted = np.arange(0, 20_001, 13)[:, None] * np.array(parts) / 10_000
    assert np.abs(counts - wanted).max() < 1


def test_the_average_row_has_been_read_once_after_an_epoch() -> None:
    assert rows_per_epoch([100], [1]) == pytest.approx(100)
    assert rows_per_epoch([100, 300], [1, 3]) == pytest.approx(400)  # as large as they are
    # Half of 200 rows are of each: one source was read 100 / 50 = 2 times, the other 100 / 950 times.
    n = rows_per_epoch([50, 950], [1, 1])
    assert 0.5 * (n / 2 / 50) + 0.5 * (n / 2 / 950) == pytest.approx(1)
