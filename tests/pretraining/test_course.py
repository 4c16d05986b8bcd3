"""What a budget comes to: every second of it is somebody's, and processes share it."""

from __future__ import annotations

import pytest

from groundup.core.errors import GroundupError
from groundup.data.batches import TrainingBatches
from groundup.data.store import TokenStore
from groundup.data.windows import Windows
from groundup.models import config_for_size
from groundup.pretraining import course, planner
from groundup.pretraining.course import tokens_per_step
from groundup.pretraining.planner import plan


def test_the_budget_is_what_the_machine_can_do_in_the_time(store: TokenStore, machine_of, settings):
    machine_of(1e9)
    given = {"size": "d2", "d_model": 32, "evaluations": 1, "sample_tokens": 0, "batch_size": 4}
    found = plan(store, settings(time=3.0, **given))
    assert found.training_seconds + found.last_look_seconds == pytest.approx(3.0, rel=0.1)
    twice = plan(store, settings(steps=2 * found.steps, **given))
    assert twice.training_seconds == pytest.approx(2 * found.training_seconds, rel=0.2)
    assert twice.wall_seconds > twice.training_seconds


def test_the_stage_ends_with_the_time_given(store: TokenStore, machine_of, settings):
    machine = machine_of(1e8)
    given = {"size": "d2", "d_model": 32, "batch_size": 4, "sample_tokens": 100}
    found = plan(store, settings(time=60.0, **given))
    assert found.training_seconds + found.last_look_seconds == pytest.approx(60.0)
    cost = machine.rehearse(config_for_size("d2", store.vocab_size, 32, d_model=32), None, None, n_rows=1)
    evaluating = store.split("validation").n_tokens / 32 * cost.forward_row_seconds
    saving = (2 * cost.weight_bytes + cost.optimizer_bytes) / 2e8  # the model folder and the training state
    assert found.last_look_seconds == pytest.approx(evaluating + 100 * cost.new_token_seconds + saving)
    assert found.last_look_seconds > 1
    steps = plan(store, settings(steps=found.steps, **given))
    assert steps.training_seconds == pytest.approx(found.training_seconds, rel=0.05)
    assert steps.last_look_seconds == found.last_look_seconds


def test_a_last_look_longer_than_the_time_leaves_half_for_training(store: TokenStore, machine_of, settings):
    machine_of(1e6)
    found = plan(store, settings(time=10.0, size="d2", d_model=32, batch_size=1))
    assert found.training_seconds == 5.0
    assert found.last_look_seconds > 10
    assert "the last evaluation reads all" in found.reason


def test_compiling_is_decided_once_and_paid_from_the_time(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch, machine_of, settings
):
    machine_of(1e9)
    monkeypatch.setattr("groundup.training.precision.missing_for_compile", lambda device: None)
    given = {"size": "d2", "batch_size": 16, "context_length": 32}
    by_time = {time: plan(store, settings(time=time, **given)) for time in (299.0, 300.0)}
    assert [each.compile for each in by_time.values()] == [False, True]
    assert by_time[300.0].settings()["compile"] == "on"
    assert by_time[300.0].compile_reason.startswith("compiled: the run is long enough")
    off = plan(store, settings(time=300.0, compile="off", **given))
    assert (off.compile, off.compile_reason) == (False, "not compiled: asked for")
    assert off.training_seconds == by_time[300.0].training_seconds  # both end with the time given
    steps_seconds = off.tokens / off.tokens_per_second
    gained = course.COMPILED_GAIN * (1 - course.COMPILING_SECONDS / steps_seconds)
    assert by_time[300.0].tokens / off.tokens == pytest.approx(gained, rel=0.02)
    assert plan(store, settings(steps=2, compile="on", **given)).compile
    assert not plan(store, settings(steps=2, **given)).compile


def test_what_compiling_gains_is_measured_where_that_is_little_of_the_run(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch, machine_of, settings
):
    machine_of(1e9)
    monkeypatch.setattr("groundup.training.precision.missing_for_compile", lambda device: None)
    measured: list[tuple[int, int]] = []

    def measure(gain: float):
        def compiled_gain(config, rows, parts, n_rows, device, dtype, reporter) -> float:
            measured.append((config.n_layers, n_rows))
            return gain

        monkeypatch.setattr(planner, "compiled_gain", compiled_gain)

    given = {"size": "d3", "batch_size": 16}
    plain = plan(store, settings(time=1000.0, compile="off", **given))
    measure(1.5)
    assert plan(store, settings(time=300.0, **given)).compile
    assert not measured
    fast = plan(store, settings(time=1000.0, **given))
    assert measured == [(3, 16)]
    assert fast.tokens_per_second == pytest.approx(1.5 * plain.tokens_per_second)
    assert (fast.compile, fast.compile_reason) == (True, "compiled: a pass is 1.50 times as fast here")
    measure(0.9)
    slow = plan(store, settings(time=1000.0, **given))
    assert (slow.compile, slow.compile_reason) == (False, "not compiled: a pass would be 0.90 times as fast here")
    assert slow.tokens_per_second == plain.tokens_per_second
    assert plan(store, settings(time=1000.0, compile="on", **given)).compile


def test_compiling_that_would_take_all_the_time_is_refused(store: TokenStore, machine_of, settings):
    machine_of(1e9)
    with pytest.raises(GroundupError, match="compiling takes about 30 s, and there are"):
        plan(store, settings(time=20.0, size="d2", compile="on"))


def test_compiling_is_part_of_the_forecast(store: TokenStore, machine_of, settings):
    machine_of(1e9)
    given = {"size": "d2", "d_model": 32, "batch_size": 4, "steps": 100}
    plain, compiled = (plan(store, settings(compile=asked, **given)) for asked in ("off", "on"))
    assert compiled.tokens_per_second == pytest.approx(course.COMPILED_GAIN * plain.tokens_per_second)
    steps_seconds = plain.tokens / plain.tokens_per_second
    saved = steps_seconds * (1 - 1 / course.COMPILED_GAIN)
    pauses = compiled.training_seconds - plain.training_seconds
    assert pauses == pytest.approx(course.COMPILING_SECONDS - saved, abs=0.2)  # on the loop's clock
    assert compiled.wall_seconds == planner.START_SECONDS + compiled.training_seconds + compiled.last_look_seconds


def test_budgets_in_tokens_epochs_and_steps(store: TokenStore, settings):
    n = store.split("train").n_tokens
    by_tokens = plan(store, settings(size="d2", d_model=32, tokens=n))
    by_epochs = plan(store, settings(size="d2", d_model=32, epochs=1.0))
    assert by_tokens.tokens == by_epochs.tokens == pytest.approx(n, rel=0.05)
    by_steps = plan(store, settings(size="d2", d_model=32, steps=300))
    assert by_steps.steps == 300
    assert by_steps.batch_size * 32 == pytest.approx(tokens_per_step(by_steps.tokens), rel=0.2)


def test_more_epochs_are_foretold_a_lower_loss(store: TokenStore, settings):
    losses = [plan(store, settings(size="d2", d_model=32, epochs=e, batch_size=4)).loss for e in (0.25, 0.5, 1.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1]


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_every_process_gets_an_equal_share(store: TokenStore, world_size: int, machine_of, settings):
    machine_of(1e9)
    for given in ({}, {"micro_batch_size": 5}, {"steps": 3}, {"tokens": 1000}):
        found = plan(
            store,
            settings(**({"time": 30.0} | given if given.keys() <= {"micro_batch_size"} else given)),
            world_size=world_size,
        )
        assert found.batch_size % (world_size * found.micro_batch_size) == 0
        assert f"{world_size} processes are assumed to train {world_size} times as fast" in found.reason
        TrainingBatches(
            Windows(store.split("train"), 32),
            batch_size=found.batch_size,
            micro_batch_size=found.micro_batch_size,
            seed=0,
            rank=world_size - 1,
            world_size=world_size,
        )


def test_a_batch_that_cannot_be_shared_is_refused(store: TokenStore, settings):
    with pytest.raises(GroundupError, match=r"batch_size 8 .* 3 equal shares .* micro-batches of 1; .* multiple of 3"):
        plan(store, settings(size="d2", steps=3, batch_size=8), world_size=3)
    with pytest.raises(GroundupError, match="multiple of 6"):
        plan(store, settings(size="d2", steps=3, batch_size=8, micro_batch_size=3), world_size=2)
