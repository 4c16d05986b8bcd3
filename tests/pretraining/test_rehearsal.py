"""What a model costs here: the seconds of the steps it will take, and memory as a real run takes it."""

from __future__ import annotations

import gc
import subprocess
import sys
from dataclasses import replace

import pytest
from torch import Tensor

from groundup.core.errors import GroundupError
from groundup.core.progress import QUIET
from groundup.data.batches import TrainingBatches
from groundup.data.store import TokenStore
from groundup.data.windows import Windows
from groundup.models import build_model, config_for_size
from groundup.pretraining import planner, rehearsal
from groundup.pretraining.planner import plan
from groundup.pretraining.rehearsal import Rehearsal, least_bytes
from groundup.training.optimizers import OptimizerSettings


def test_too_little_memory_is_refused_before_training(store: TokenStore, monkeypatch: pytest.MonkeyPatch, settings):
    monkeypatch.setattr(planner, "free_memory_bytes", lambda device: 1_000_000)
    with pytest.raises(GroundupError, match="not enough memory: the smallest candidate, d2, needs"):
        plan(store, settings(time=5.0))


def test_a_size_too_large_to_be_built_is_refused_unbuilt(store: TokenStore, monkeypatch: pytest.MonkeyPatch, settings):
    monkeypatch.setattr(planner, "free_memory_bytes", lambda device: 10**9)
    monkeypatch.setattr(rehearsal, "build_model", lambda config: pytest.fail("it was built"))
    needed = 16 * config_for_size("d32", store.vocab_size, 32).n_parameters()
    assert needed > 10**10
    with pytest.raises(GroundupError, match="not enough memory: the smallest candidate, d32, needs at least"):
        plan(store, settings(size="d32", steps=3))


def test_only_sizes_that_fit_are_rehearsed(store: TokenStore, monkeypatch: pytest.MonkeyPatch, machine_of, settings):
    least = 16 * config_for_size("d4", store.vocab_size, 32).n_parameters() + rehearsal.CPU_START_BYTES / 3
    free = 1.25 * least
    monkeypatch.setattr(planner, "free_memory_bytes", lambda device: free)  # four fifths of it can be used
    machine = machine_of(1e15)  # on which larger ones would be better
    found = plan(store, settings(time=30.0))
    assert max(candidate.n_parameters for candidate in found.candidates) * 16 <= free * planner.MEMORY_SHARE
    assert [candidate.fits for candidate in found.candidates] == [True, False, False]  # d2, d3, d4
    assert set(machine.rehearsed) == {2}


def test_the_first_rehearsal_leaves_room_for_its_batch(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch, machine_of, settings
):
    model = config_for_size("d4", store.vocab_size, 32)
    row_bytes = least_bytes(model, 1) - least_bytes(model)
    room = (least_bytes(model) + 3.5 * rehearsal.CPU_ACTIVATIONS["bf16"] * row_bytes) / planner.MEMORY_SHARE
    monkeypatch.setattr(planner, "free_memory_bytes", lambda device: room)
    machine = machine_of(1e9)
    with pytest.raises(GroundupError, match="not enough memory"):  # the truth, once it has been rehearsed
        plan(store, settings(size="d4", steps=3, batch_size=64))
    assert machine.n_rows == [3]


def test_the_memory_of_a_batch_is_foretold_from_its_sizes(store: TokenStore):
    model = config_for_size("d4", store.vocab_size, 32)
    windows = Windows(store.split("train"), 32)
    truth = rehearsal._saved_bytes(
        build_model(model), TrainingBatches(windows, batch_size=8, micro_batch_size=8, seed=0)
    )
    assert least_bytes(model, 8) - least_bytes(model) == pytest.approx(truth, rel=0.3)


def test_nothing_of_a_rehearsal_stays(store: TokenStore):
    def living() -> int:
        gc.collect()
        return sum(1 for each in gc.get_objects() if issubclass(type(each), Tensor))

    def once() -> None:
        rehearsal.rehearse(
            config_for_size("d2", store.vocab_size, 32),
            [Windows(store.split("train"), 32)],
            OptimizerSettings(0.02, 0.02, 0.01, 0.01),
            n_rows=4,
            seconds=0.01,
            precision="bf16",
        )

    once()
    before = living()
    once()
    assert living() <= before


def test_processes_share_the_work_and_the_memory(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch, machine_of, settings
):
    machine_of(1e9)
    given = {"size": "d2", "d_model": 32, "batch_size": 8, "steps": 100}
    one, four = (plan(store, settings(**given), world_size=n) for n in (1, 4))
    assert four.tokens_per_second == pytest.approx(4 * one.tokens_per_second)
    assert four.batch_size == 8
    assert (one.micro_batch_size, four.micro_batch_size) == (8, 2)
    free = 16 * one.n_parameters / planner.MEMORY_SHARE * 2
    monkeypatch.setattr(planner, "free_memory_bytes", lambda device: free)
    with pytest.raises(GroundupError, match="needs at least"):
        plan(store, settings(**given), world_size=4)


def test_the_batch_is_cut_until_it_fits_the_memory(settings):
    cost = Rehearsal(
        "cpu", "fp32", "", 1, 0.1, 0.1, 0.1, 0.1, saved_row_bytes=10_000_000, weight_bytes=10**6, optimizer_bytes=10**6
    )
    bare = object.__new__(planner._Planner)
    bare.config, bare.context_length, bare.vocab_size, bare.world_size = settings(), 32, 100, 1
    bare.base_bytes, bare.usable_bytes = 0, 120_000_000
    assert bare._micro_batch_size(cost, 12) == 4
    assert bare._micro_batch_size(replace(cost, saved_row_bytes=1_000), 12) == 12
    assert bare._micro_batch_size(replace(cost, saved_row_bytes=10**9), 12) == 1
    bare.world_size = 4
    assert bare._micro_batch_size(replace(cost, saved_row_bytes=1_000), 12) == 3


PLAN_AND_TRAIN = """
import sys
import psutil
from groundup.core.device import peak_memory_bytes
from groundup.data.batches import TrainingBatches
from groundup.data.store import TokenStore
from groundup.data.windows import Windows
from groundup.models import build_model, config_for_size
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.planner import plan
from groundup.training.job import Budget, Job
from groundup.training.loop import train
from groundup.training.objectives import next_token_loss
from groundup.training.optimizers import Optimizer, OptimizerSettings

store = TokenStore.open(sys.argv[1])
before = psutil.Process().memory_info().rss
asked = {"size": "d4", "context_length": 64, "batch_size": 16, "steps": 2, "precision": "fp32"}
print(plan(store, PretrainConfig.build(asked)).memory_bytes - before)
model = build_model(config_for_size("d4", store.vocab_size, 64))
batches = TrainingBatches(Windows(store.split("train"), 64), batch_size=16, micro_batch_size=16, seed=0)
optimizer = Optimizer(model, OptimizerSettings(0.02, 0.02, 0.01, 0.01))
train(Job(model, batches, next_token_loss, optimizer, Budget(steps=2)))
print(peak_memory_bytes() - before)
"""


def test_the_memory_is_that_of_a_real_run(store: TokenStore):
    command = [sys.executable, "-c", PLAN_AND_TRAIN, str(store.folder)]
    foretold, truth = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert foretold == pytest.approx(truth, rel=0.15)  # both beyond the bare process


def test_no_less_is_foretold_than_the_process_has_held(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch, machine_of, settings
):
    machine_of(1e9)
    monkeypatch.setattr(planner, "peak_memory_bytes", lambda device: 10**12)
    assert plan(store, settings(size="d2", steps=3)).memory_bytes == 10**12
    monkeypatch.setattr(planner, "peak_memory_bytes", lambda device: 10**6)
    found = plan(store, settings(size="d2", steps=3))
    assert found.memory_bytes == found.candidates[0].memory_bytes > 10**6


def test_what_compiling_gains_is_the_ratio_of_passes(store: TokenStore, monkeypatch: pytest.MonkeyPatch):
    def fast(model, batch):
        raise AssertionError("only timed")

    took = {rehearsal.next_token_loss: iter([3.0, 2.8, 9.0]), fast: iter([2.0, 7.0, 2.5])}
    monkeypatch.setattr(rehearsal, "compiled", lambda *_: fast)
    monkeypatch.setattr(rehearsal, "time_pass", lambda model, objective, batch, seconds: next(took[objective]))
    given = (config_for_size("d2", store.vocab_size, 32), [Windows(store.split("train"), 32)], (1,), 4, "cpu", "fp32")
    assert (
        rehearsal.compiled_gain(*given, QUIET) == 2.8 / 2.0
    )  # the quickest of each: another program takes time, gives none
    monkeypatch.setattr(rehearsal, "compiled", lambda *_: rehearsal.next_token_loss)  # it failed
    monkeypatch.setattr(rehearsal, "time_pass", lambda *_, **__: 1.0)
    assert rehearsal.compiled_gain(*given, QUIET) == 1.0


def test_a_step_counts_by_its_median_after_the_first_ones(store: TokenStore, settings, monkeypatch: pytest.MonkeyPatch):
    now, took = [0.0], iter([60.0, 30.0, 1.0, 9.0, 1.0, 1.0, 9.0, 1.0])

    def take_step(*_):
        now[0] += next(took)

    monkeypatch.setattr(rehearsal, "take_step", take_step)
    monkeypatch.setattr(rehearsal, "_now", lambda device: now[0])
    found = rehearsal.rehearse(
        config_for_size("d2", store.vocab_size, 32),
        [Windows(store.split("train"), 32)],
        OptimizerSettings(0.02, 0.02, 0.01, 0.01),
        n_rows=4,
        seconds=24.0,
        precision="fp32",
    )
    assert found.step_seconds(4) == pytest.approx(1.0)
    assert next(took) == 9.0  # half of the time was up after 1 + 9 + 1 + 1


def test_the_size_taken_is_timed_with_as_many_windows_as_it_will_compute_at_once(
    store: TokenStore, settings, machine_of
):
    machine = machine_of(1e11, saving=0.5)
    found = plan(store, settings(tokens=4_000_000, size="d3"))
    assert machine.rehearsed == [3, 3]
    assert machine.n_rows[0] != found.micro_batch_size == machine.n_rows[1]
    row_seconds = machine.row_seconds(config_for_size("d3", store.vocab_size, 32), machine.n_rows[1])
    assert found.tokens_per_second == pytest.approx(32 / row_seconds)
    assert found.precision_reason == "fp32: known"


def test_the_second_rehearsal_is_left_out_where_it_would_be_much_of_the_run(store: TokenStore, settings, machine_of):
    machine = machine_of(1e8)
    found = plan(store, settings(steps=20, size="d3", batch_size=128, micro_batch_size=64))
    assert machine.n_rows == [64]
    assert found.micro_batch_size == 64
    found = plan(store, settings(steps=20, size="d3", batch_size=1024))
    assert machine.n_rows == [64, 512]
    assert found.micro_batch_size == 512
