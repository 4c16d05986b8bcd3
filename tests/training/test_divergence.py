"""What counts as a divergence, and what as an ordinary bad batch."""

from __future__ import annotations

import math
import random

from groundup.training.divergence import CLIMB, WINDOW, DivergenceWatch, StepFigures


def first_trouble(losses: list[float], norm: float = 1.0) -> int | None:
    watch = DivergenceWatch()
    return next((i for i, loss in enumerate(losses) if watch.trouble(StepFigures(loss, norm, 1))), None)


def test_a_loss_or_gradient_that_is_no_number_is_told_at_once():
    assert "loss is nan" in DivergenceWatch().trouble(StepFigures(math.nan, 1.0, 1))
    assert "norm is inf" in DivergenceWatch().trouble(StepFigures(2.0, math.inf, 1))


def test_a_falling_loss_with_spikes_is_fine():
    losses = [10 - 0.1 * i if i % 10 else 30.0 for i in range(60)]
    assert first_trouble(losses) is None


def test_a_loss_that_stays_up_is_noticed_within_a_window():
    step = first_trouble([2.0] * 50 + [4.0] * 50)
    assert 50 + WINDOW // 2 <= step <= 50 + WINDOW


def test_a_short_noisy_run_is_fine():
    assert first_trouble([1.0, 5.0, 0.5, 6.0, 0.1]) is None


def climbing(losses: list[float]) -> list[bool]:
    """After each loss, whether the watch calls it climbing."""
    watch, found = DivergenceWatch(), []
    for loss in losses:
        watch.trouble(StepFigures(loss, 1.0, 1))
        found.append(watch.climbing)
    return found


def test_a_slow_climb_is_known_long_before_it_is_a_divergence():
    losses = [2.0] * 50 + [2.0 + 0.01 * i for i in range(300)]
    first = climbing(losses).index(True)
    assert 2.0 + CLIMB <= losses[first] <= 2.0 + CLIMB + 0.1
    assert all(climbing(losses)[first:])
    assert first_trouble(losses) - first > 100


def test_one_high_loss_is_climbing_until_the_next_and_a_fall_never():
    found = climbing([4 - 0.01 * i for i in range(60)] + [9.0] + [3.4] * 5)
    assert [i for i, high in enumerate(found) if high] == [60]


def test_before_a_whole_window_nothing_is_called_climbing():
    assert not any(climbing([2.0] + [9.0] * (WINDOW - 2)))


def test_the_noise_of_small_batches_is_not_called_climbing_for_long():
    for size in (0.05, 0.3, 1.0):
        draw = random.Random(0)
        found = climbing([draw.gauss(3, size) for _ in range(3000)])
        longest = max(len(run) for run in "".join("x" if high else " " for high in found).split(" "))
        assert longest < 3 * WINDOW, (size, longest)


def test_the_memory_goes_on_where_it_stopped():
    losses = [2.0] * 30 + [4.0] * 20
    whole = DivergenceWatch()
    told = [whole.trouble(StepFigures(loss, 1.0, 1)) for loss in losses]
    first = DivergenceWatch()
    half = [first.trouble(StepFigures(loss, 1.0, 1)) for loss in losses[:33]]
    second = DivergenceWatch(**first.memory())
    assert half + [second.trouble(StepFigures(loss, 1.0, 1)) for loss in losses[33:]] == told
    assert told[-1]
