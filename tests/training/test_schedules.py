"""The learning rate's curve, at the points where it turns."""

from __future__ import annotations

import pytest

from groundup.training.schedules import warmup_stable_decay


def curve(steps: int, **settings) -> list[float]:
    return [warmup_stable_decay(step, step / steps, **settings) for step in range(steps)]


def test_rises_stands_and_falls_linearly():
    assert curve(10, warmup_steps=3, decay=0.4) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_no_decay_stays_and_full_decay_falls_from_the_start():
    assert curve(4, decay=0.0) == [1, 1, 1, 1]
    assert curve(4, decay=1.0) == pytest.approx([1, 0.75, 0.5, 0.25])


def test_the_decay_follows_the_budget_not_the_step():
    assert warmup_stable_decay(3, 0.9, decay=0.2) == pytest.approx(0.5)
    assert warmup_stable_decay(3_000, 0.9, decay=0.2) == pytest.approx(0.5)


def test_never_below_zero_when_the_budget_is_overrun():
    assert warmup_stable_decay(5, 1.1, decay=0.5) == 0.0


def test_the_smaller_wins_where_warm_up_and_decay_meet():
    assert curve(4, warmup_steps=3, decay=1.0) == pytest.approx([0.25, 0.5, 0.5, 0.25])
