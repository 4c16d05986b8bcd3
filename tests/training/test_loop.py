"""The loop: rows, hooks, budgets on a clock we hold, endings."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.core.progress import Bar, Reporter
from groundup.training import loop
from groundup.training.loop import Budget, Hook, Place, train
from groundup.training.metrics import MetricsLog
from groundup.training.objectives import next_token_loss
from groundup.training.saving import Keeper


class Clock:
    """A clock that only moves when told to."""

    def __init__(self):
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    return clock


@pytest.fixture
def save_always(monkeypatch) -> None:
    monkeypatch.setattr(Keeper, "due", lambda self, watch: True)


def slow(clock: Clock, seconds: float):
    """The objective, at `seconds` a micro-batch on the clock."""

    def objective(model, batch):
        clock.now += seconds
        return next_token_loss(model, batch)

    return objective


def weights(job) -> list[torch.Tensor]:
    return [p.detach().clone() for p in job.model.parameters()]


def test_rows_hold_what_a_step_measured(make_job, clock):
    metrics = MetricsLog()
    job = make_job(
        objective=slow(clock, 0.25), steps_per_epoch=4, flops_per_token=1000, ceiling_flops=512_000,
        schedule=lambda step, progress: 1 - progress,
    )  # fmt: skip
    result = train(job, metrics=metrics)
    assert result.outcome == "finished"
    assert result.place == Place(10, 1280, 5.0, finished_budget=10)
    assert [row["step"] for row in metrics.rows] == list(range(1, 11))
    row = metrics.rows[3]
    assert row["tokens"] == 4 * 8 * 16
    assert row["epoch"] == 1.0
    assert row["step_seconds"] == 0.5
    assert row["tokens_per_second"] == 256
    assert row["mfu"] == 0.5
    assert row["elapsed_seconds"] == 2.0
    assert row["learning_rate"] == pytest.approx(0.02 * 0.7)
    assert row["gradient_norm"] > 0
    assert metrics.rows[-1]["train_loss"] < metrics.rows[0]["train_loss"] - 0.5


def test_the_bar_has_the_true_total_and_the_figures(make_job, clock):
    calls = []

    class Watcher(Reporter, Bar):
        @contextmanager
        def bar(self, label, total, unit="", begun=0):
            calls.append((total, unit))
            yield self

        def set(self, completed, info=None, total=None):
            calls.append((completed, info))

    train(make_job(objective=slow(clock, 0.25), flops_per_token=1000, ceiling_flops=512_000), reporter=Watcher())
    assert calls[0] == (10, "steps")
    assert calls[-1][0] == 10
    assert "256 tokens/s · MFU 50%" in calls[-1][1]
    calls.clear()
    train(make_job(objective=slow(clock, 0.25), budget=Budget(seconds=2.0)), reporter=Watcher())
    assert calls[0] == (2.0, "seconds")
    assert calls[-1][0] == 2.0


def test_a_time_budget_decays_to_its_end_and_does_not_overrun(make_job, clock):
    progress = []

    def schedule(step, p):
        progress.append(p)
        return 1 - p

    result = train(make_job(objective=slow(clock, 0.15), budget=Budget(seconds=2.0), schedule=schedule))
    assert result.place.step == 6  # a seventh step of 0.3 s would end at 2.1
    assert result.place.elapsed_seconds == pytest.approx(1.8)
    assert progress == pytest.approx([0, 0.15, 0.3, 0.45, 0.6, 0.75])


def test_the_clock_counts_what_hooks_take(make_job, clock):
    def evaluate(place):
        clock.now += 0.5

    job = make_job(objective=slow(clock, 0.05), budget=Budget(seconds=2.0), hooks=(Hook(evaluate, every_steps=5),))
    result = train(job)
    assert result.place.elapsed_seconds == pytest.approx(2.0)
    assert result.place.step == 10


def test_hooks_run_when_due_and_at_the_end_once(make_job, clock):
    seen = {"steps": [], "seconds": [], "end": [], "both": []}

    def note(name):
        return lambda place: seen[name].append(place.step)

    job = make_job(
        objective=slow(clock, 0.25),
        hooks=(
            Hook(note("steps"), every_steps=4),
            Hook(note("seconds"), every_seconds=1.2),
            Hook(note("end"), at_end=True),
            Hook(note("both"), every_steps=5, at_end=True),
        ),
    )
    train(job)
    assert seen == {"steps": [4, 8], "seconds": [3, 5, 8, 10], "end": [10], "both": [5, 10]}


def test_what_a_hook_returns_becomes_a_row_and_the_model_trains_on(make_job):
    modes = []

    def evaluate(place):
        job.model.eval()
        return {"val_loss": 1.5}

    def objective(model, batch):
        modes.append(model.training)
        return next_token_loss(model, batch)

    metrics = MetricsLog()
    job = make_job(hooks=(Hook(evaluate, every_steps=5),), objective=objective)
    train(job, metrics=metrics)
    assert [row for row in metrics.rows if "val_loss" in row] == [
        {"step": 5, "val_loss": 1.5},
        {"step": 10, "val_loss": 1.5},
    ]
    assert all(modes)


def test_hooks_that_draw_random_numbers_change_nothing(make_job, tiny_model):
    plain = make_job(model=tiny_model("gpt2", dropout=0.3))
    train(plain)
    draw = Hook(lambda place: {"drawn": torch.rand(9).sum().item()}, every_steps=1)
    hooked = make_job(model=tiny_model("gpt2", dropout=0.3), hooks=(draw,))
    train(hooked)
    assert all(torch.equal(a, b) for a, b in zip(weights(plain), weights(hooked), strict=True))


def test_another_seed_draws_another_dropout(make_job, tiny_model):
    runs = [make_job(model=tiny_model("gpt2", dropout=0.3), seed=seed) for seed in (0, 1)]
    for job in runs:
        train(job)
    assert not torch.equal(weights(runs[0])[0], weights(runs[1])[0])


def test_resumed_it_ends_where_the_straight_run_does(make_job, tiny_model, tmp_path):
    straight = make_job(model=tiny_model("gpt2", dropout=0.3))
    train(straight)
    metrics = MetricsLog()
    first = make_job(model=tiny_model("gpt2", dropout=0.3), hooks=(Hook(press_at(4), every_steps=1),))
    stopped = train(first, state_folder=tmp_path, metrics=metrics)
    assert stopped.outcome == "interrupted"
    assert stopped.place.step == 4
    assert "4 of 10 steps" in stopped.message
    assert str(tmp_path) in stopped.message
    metrics.log({"step": 5, "train_loss": 0.0})  # a row the state does not know of
    second = make_job(model=tiny_model("gpt2", dropout=0.3, seed=9))
    result = train(second, state_folder=tmp_path, metrics=metrics)
    assert result.outcome == "finished"
    assert [row["step"] for row in metrics.rows] == list(range(1, 11))
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(second), strict=True))


def press_at(step: int):
    def press(place):
        if place.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return press


def test_a_finished_run_resumed_does_nothing_and_a_longer_budget_goes_on(make_job, tmp_path):
    ends = []
    hook = Hook(lambda place: ends.append(place.step), at_end=True)
    train(make_job(hooks=(hook,)), state_folder=tmp_path)
    again = make_job(hooks=(hook,))
    result = train(again, state_folder=tmp_path)
    assert result.outcome == "finished"
    assert (result.place.step, ends) == (10, [10])
    assert train(make_job(hooks=(hook,), budget=Budget(steps=12)), state_folder=tmp_path).place.step == 12
    assert ends == [10, 12]


def test_killed_in_the_hooks_at_the_end_a_resume_calls_them(make_job, tmp_path, save_always):
    class Killed(Exception):
        pass

    def die(place):
        raise Killed

    with pytest.raises(Killed):
        train(make_job(hooks=(Hook(die, at_end=True),)), state_folder=tmp_path)
    ends = []
    hook = Hook(lambda place: ends.append(place.step), at_end=True)
    assert train(make_job(hooks=(hook,)), state_folder=tmp_path).place.step == 10
    assert ends == [10]


def test_a_time_budget_carries_its_clock_over_a_resume(make_job, clock, tmp_path):
    job = make_job(objective=slow(clock, 0.25), budget=Budget(seconds=3.0), hooks=(Hook(press_at(2), every_steps=1),))
    assert train(job, state_folder=tmp_path).place.elapsed_seconds == 1.0
    clock.now += 500  # between the sessions
    result = train(make_job(objective=slow(clock, 0.25), budget=Budget(seconds=3.0)), state_folder=tmp_path)
    assert result.place == Place(6, 768, 3.0, finished_budget=3.0)


def test_interrupted_before_the_first_step_nothing_is_saved(make_job, tmp_path):
    class Impatient(Reporter):
        @contextmanager
        def bar(self, label, total, unit="", begun=0):
            os.kill(os.getpid(), signal.SIGINT)
            yield Bar()

    result = train(make_job(), state_folder=tmp_path, reporter=Impatient())
    assert (result.outcome, result.place.step, result.loss) == ("interrupted", 0, None)
    assert "nothing is saved" in result.message
    assert list(tmp_path.iterdir()) == []


def test_a_loss_of_nan_stops_and_puts_the_last_state_back(make_job, tmp_path, save_always):
    calls = []

    def objective(model, batch):
        calls.append(1)
        return next_token_loss(model, batch) * (float("nan") if len(calls) == 15 else 1.0)  # step 8

    ends = []
    job = make_job(objective=objective, hooks=(Hook(ends.append, at_end=True),))
    seventh = []
    job = replace(job, hooks=(*job.hooks, Hook(lambda place: seventh.append(weights(job)), every_steps=7)))
    result = train(job, state_folder=tmp_path)
    assert result.outcome == "diverged"
    assert "step 8: the loss is nan" in result.message
    assert "half the learning rate" in result.message
    assert result.place.step == 7
    assert all(torch.equal(a, b) for a, b in zip(weights(job), seventh[0], strict=True))
    assert ends == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000006", "step-00000007"]


def test_an_exploding_run_is_stopped(make_job, settings):
    wild = replace(settings, matrix_learning_rate=0.01, embedding_learning_rate=0.01)
    job = make_job(
        optimizer_settings=wild, budget=Budget(steps=200), gradient_clip=1e9,
        schedule=lambda step, progress: 1.0 if step < 40 else 1000.0,
    )  # fmt: skip
    result = train(job)
    assert result.outcome == "diverged"
    assert 40 < result.place.step < 100
    assert "no state had been saved" in result.message


def test_states_are_saved_by_the_clock_and_never_cost_more_than_a_twentieth(make_job, tmp_path, monkeypatch):
    from groundup.training import saving

    clock = Clock()
    monkeypatch.setattr(saving, "time", clock)
    monkeypatch.setattr(loop, "time", clock)
    saved = []

    def save(folder, step, tensors, values):
        saved.append(step)
        clock.now += 0.2  # so the next one waits 4 s, until step 13 has ended

    monkeypatch.setattr(saving, "save_state", save)
    train(make_job(objective=slow(clock, 0.25), budget=Budget(steps=20), save_every_seconds=2.0), state_folder=tmp_path)
    assert saved == [4, 13, 20]


def test_the_first_state_is_saved_as_soon_as_a_window_of_losses_is_known(make_job, tmp_path, monkeypatch):
    from groundup.training import saving

    saved = []
    monkeypatch.setattr(saving, "save_state", lambda folder, step, tensors, values: saved.append(step))
    train(make_job(budget=Budget(steps=20), save_every_seconds=1e9), state_folder=tmp_path)
    assert saved == [16, 20]


def test_no_state_is_saved_while_the_loss_climbs_and_the_good_ones_stay(make_job, tmp_path, monkeypatch):
    from groundup.training import saving

    monkeypatch.setattr(saving, "time", Clock())  # saves take no time, so one is due after every step
    taken = []

    def objective(model, batch):
        taken.append(1)
        step = (len(taken) - 1) // 2
        return next_token_loss(model, batch) * 1e-6 + batch.n_targets * (2 + 0.1 * max(0, step - 30))

    job = make_job(objective=objective, budget=Budget(steps=200), save_every_seconds=0.0)
    result = train(job, state_folder=tmp_path)
    assert result.outcome == "diverged"
    assert len(taken) / 2 > 45
    assert 30 <= result.place.step <= 35  # its loss was below 2.4
    again = []
    resumed = make_job(hooks=(Hook(lambda place: again.append(place.step), every_steps=1),), budget=Budget(steps=40))
    assert train(replace(resumed, save_every_seconds=1e9), state_folder=tmp_path).outcome == "finished"
    assert again[0] == result.place.step + 1


@pytest.mark.parametrize("wrong", [{}, {"steps": 3, "seconds": 2.0}, {"steps": 0}, {"seconds": -1.0}])
def test_a_budget_is_one_positive_thing(wrong):
    with pytest.raises(GroundupError, match="budget"):
        Budget(**wrong)


def test_a_state_of_another_model_is_refused_by_name(make_job, tiny_model, tmp_path):
    train(make_job(), state_folder=tmp_path)
    with pytest.raises(GroundupError, match=r"another model: blocks\.0\..*"):
        train(make_job(model=tiny_model(d_ff=96)), state_folder=tmp_path)
