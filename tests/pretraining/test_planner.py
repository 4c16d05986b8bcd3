"""The plan keeps what is asked, fills in what is left, and its figures hold on this machine."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.core.runs import RunFolder
from groundup.data.batches import TrainingBatches
from groundup.data.mixture import Mixture
from groundup.data.prepare import prepare
from groundup.data.store import TokenStore
from groundup.data.windows import Windows
from groundup.models import build_model, config_for_size
from groundup.pretraining import course, planner, rehearsal, resolve
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.course import tokens_per_step
from groundup.pretraining.plan import Plan, readable_count, readable_seconds
from groundup.pretraining.planner import default_context_length, plan
from groundup.pretraining.rehearsal import Rehearsal, least_bytes
from groundup.pretraining.summary import summarize
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """Sixty short documents of an invented language, about 60,000 tokens."""
    folder = tmp_path_factory.mktemp("text")
    draw = np.random.default_rng(0)
    words = ["".join(draw.choice(list("abcdefgh"), draw.integers(2, 7))) for _ in range(200)]
    texts = [" ".join(words[i] for i in draw.integers(0, 200, 600) ** 2 // 200) for _ in range(60)]
    for i, text in enumerate(texts):
        (folder / f"{i:02d}.txt").write_text(text)
    return prepare([folder], train_tokenizer(texts, vocab_size=400), folder / "store")


def settings(**values) -> PretrainConfig:
    return PretrainConfig.build({"context_length": 32, "precision": "fp32", **values})


@pytest.fixture(scope="module")
def timed(store: TokenStore) -> Plan:
    return plan(store, settings(time=20.0))


class Machine:
    """A machine of a known speed, on which rehearsing takes a known time; it has a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, flops: float, rehearsal_seconds: float = 0.01) -> None:
        self.flops, self.rehearsal_seconds, self.now = flops, rehearsal_seconds, 0.0
        self.rehearsed: list[int] = []
        self.n_rows: list[int] = []
        monkeypatch.setattr(planner, "rehearse", self.rehearse)
        monkeypatch.setattr(planner.time, "perf_counter", lambda: self.now)

    def rehearse(self, config, windows, settings, *, n_rows: int, **_) -> Rehearsal:
        self.now += self.rehearsal_seconds
        self.n_rows.append(n_rows)
        self.rehearsed.append(config.n_layers)
        row_seconds = config.flops_per_token() * config.context_length / self.flops
        weights = 4 * config.n_parameters()
        return Rehearsal(
            "cpu", "fp32", "fp32: known", 1, row_seconds, 0.0, row_seconds / 3, 1e-6, 10**5, weights, 2 * weights
        )


def test_a_faster_machine_gets_a_larger_model_and_a_lower_loss(store: TokenStore, monkeypatch: pytest.MonkeyPatch):
    found = []
    for flops in (1e8, 1e9, 1e10):
        with monkeypatch.context() as patch:
            Machine(patch, flops)
            found.append(plan(store, settings(time=30.0)))
    depths = [each.n_layers for each in found]
    assert depths == sorted(depths)
    losses = [each.loss for each in found]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1]


def test_the_best_and_its_neighbours_are_rehearsed_and_no_others(store: TokenStore, monkeypatch: pytest.MonkeyPatch):
    machine = Machine(monkeypatch, 1e9)
    found = plan(store, settings(time=30.0))
    place = planner.DEPTHS.index(found.n_layers)
    around = planner.DEPTHS[max(0, place - 1) : place + 2]
    assert set(around) <= set(machine.rehearsed)
    assert len(machine.rehearsed) == len(set(machine.rehearsed)) < len(planner.DEPTHS)
    marked = {candidate.size: candidate.rehearsed for candidate in found.candidates}
    assert {f"d{depth}" for depth in machine.rehearsed} == {size for size, rehearsed in marked.items() if rehearsed}


def test_when_the_time_to_plan_is_up_only_what_was_rehearsed_is_taken(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch
):
    machine = Machine(monkeypatch, 1e12, rehearsal_seconds=60.0)
    found = plan(store, settings(time=30.0))
    assert machine.rehearsed == [2] == [found.n_layers]
    assert found.planning_seconds >= 60.0


def test_the_budget_is_what_the_machine_can_do_in_the_time(store: TokenStore, monkeypatch: pytest.MonkeyPatch):
    Machine(monkeypatch, 1e9)
    given = {"size": "d2", "d_model": 32, "evaluations": 1, "sample_tokens": 0, "batch_size": 4}
    found = plan(store, settings(time=3.0, **given))
    assert found.training_seconds + found.last_look_seconds == pytest.approx(3.0, rel=0.1)
    twice = plan(store, settings(steps=2 * found.steps, **given))
    assert twice.training_seconds == pytest.approx(2 * found.training_seconds, rel=0.2)
    assert twice.wall_seconds > twice.training_seconds


def test_the_stage_ends_with_the_time_given(store: TokenStore, monkeypatch: pytest.MonkeyPatch):
    machine = Machine(monkeypatch, 1e8)
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


def test_a_last_look_longer_than_the_time_leaves_half_for_training(store: TokenStore, monkeypatch: pytest.MonkeyPatch):
    Machine(monkeypatch, 1e6)
    found = plan(store, settings(time=10.0, size="d2", d_model=32, batch_size=1))
    assert found.training_seconds == 5.0
    assert found.last_look_seconds > 10
    assert "the last evaluation reads all" in found.reason


def test_compiling_is_decided_once_and_paid_from_the_time(store: TokenStore, monkeypatch: pytest.MonkeyPatch):
    Machine(monkeypatch, 1e9)
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


def test_compiling_that_would_take_all_the_time_is_refused(store: TokenStore, monkeypatch: pytest.MonkeyPatch):
    Machine(monkeypatch, 1e9)
    with pytest.raises(GroundupError, match="compiling takes about 30 s, and there are"):
        plan(store, settings(time=20.0, size="d2", compile="on"))


class Heard(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str = "") -> None:
        self.lines.append(text)


def test_a_run_uses_the_decisions_of_its_plan(store: TokenStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    Machine(monkeypatch, 1e8)
    monkeypatch.setattr("groundup.training.precision.missing_for_compile", lambda device: None)
    heard, config = Heard(), settings(time=300.0, size="d2", batch_size=16)
    tokenizer = Tokenizer.load(store.tokenizer_folder)
    with RunFolder.create(tmp_path / "run", config, []) as run:
        resolved, chosen = resolve.resolve(config, run, Mixture.of(store), tokenizer, heard, world_size=2)
        assert resolve.resolve(resolved, run, Mixture.of(store), tokenizer, heard, world_size=2) == (resolved, chosen)
    assert (resolved.compile, chosen.compile) == ("on", True)
    assert heard.lines.count(chosen.compile_reason) == heard.lines.count("fp32: known") == 1
    assert resolved.batch_size and resolved.micro_batch_size
    assert resolved.batch_size // 2 % resolved.micro_batch_size == 0


def test_the_summary_holds_the_plan_against_what_came(store: TokenStore, timed: Plan, tmp_path: Path):
    config = settings(time=20.0)
    model = build_model(config_for_size("d2", store.vocab_size, 32))
    took = {"training_seconds": 19.0, "compile_seconds": 11.0, "wall_seconds": 30.0, "max_logit_difference": 0.0}
    with RunFolder.create(tmp_path / "run", config, []) as run:
        run.log({"step": 3, "val_loss": 4.5})
        run.flush()
        tokenizer = Tokenizer.load(store.tokenizer_folder)

        def summary(**values):
            return summarize(
                run,
                config,
                timed,
                Mixture.of(store),
                tokenizer,
                model,
                outcome="finished",
                device="cpu",
                **took,
                **values,
            )

        found = {each.name: each for each in summary(since_plan_seconds=24.0, n_tokens=5000).forecasts}
        resumed = {each.name: each for each in summary(since_plan_seconds=None, n_tokens=5000).forecasts}
        cost = summary(since_plan_seconds=None, n_tokens=5000).cost
    assert cost is not None
    assert cost.compile_seconds == 11.0
    assert found["training time"].expected == timed.training_seconds + timed.last_look_seconds
    assert (found["wall time"].expected, found["wall time"].actual) == (timed.wall_seconds, 24.0)
    assert resumed["wall time"].actual is None
    at_tokens_read = found["validation loss at the tokens read"]
    assert (at_tokens_read.expected, at_tokens_read.actual) == (timed.loss_at(5000), 4.5)
    assert at_tokens_read.expected != found["validation loss"].expected == timed.loss


@pytest.mark.parametrize("name", ["epochs", "learning_rate", "weight_decay", "gradient_clip", "warmup", "dropout"])
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_numbers_without_end_are_refused(name: str, value: str):
    with pytest.raises(GroundupError, match=f"{name} is '{value}'"):
        PretrainConfig.build({name: value})


def test_seeds_fit_into_64_bits():
    assert PretrainConfig.build({"seed": 2**63 - 1}).seed == 2**63 - 1
    for seed in (-1, 2**63):
        with pytest.raises(GroundupError, match=f"seed is {seed}"):
            PretrainConfig.build({"seed": seed})


def test_compiling_is_part_of_the_forecast(store: TokenStore, monkeypatch: pytest.MonkeyPatch):
    Machine(monkeypatch, 1e9)
    given = {"size": "d2", "d_model": 32, "batch_size": 4, "steps": 100}
    plain, compiled = (plan(store, settings(compile=asked, **given)) for asked in ("off", "on"))
    assert compiled.tokens_per_second == pytest.approx(course.COMPILED_GAIN * plain.tokens_per_second)
    steps_seconds = plain.tokens / plain.tokens_per_second
    saved = steps_seconds * (1 - 1 / course.COMPILED_GAIN)
    pauses = compiled.training_seconds - plain.training_seconds
    assert pauses == pytest.approx(course.COMPILING_SECONDS - saved, abs=0.2)  # on the loop's clock
    assert compiled.wall_seconds == planner.START_SECONDS + compiled.training_seconds + compiled.last_look_seconds


def test_the_chosen_size_is_among_the_candidates_and_has_the_lowest_loss(timed: Plan):
    chosen = next(candidate for candidate in timed.candidates if candidate.size == timed.size)
    assert chosen.rehearsed
    assert chosen.loss <= min(candidate.loss for candidate in timed.candidates if candidate.rehearsed) * 1.006
    assert (chosen.loss, chosen.steps, chosen.tokens) == (timed.loss, timed.steps, timed.tokens)
    assert timed.tokens == timed.steps * timed.batch_size * 32
    assert timed.epochs == pytest.approx(timed.tokens / timed.train_tokens, rel=2e-3)  # of whole windows
    assert timed.batch_size % timed.micro_batch_size == 0
    assert 1.0 < timed.loss < math.log(timed.vocab_size)
    assert timed.size in timed.reason


def test_the_plan_survives_its_file(timed: Plan, tmp_path: Path):
    timed.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == timed
    assert json.loads((tmp_path / "plan.json").read_text())["candidates"][0]["size"] == "d2"


def test_the_loss_after_other_tokens_can_be_asked(timed: Plan):
    assert timed.loss_at(timed.tokens) == timed.loss
    assert timed.loss_at(timed.tokens // 4) > timed.loss


def test_the_plan_fills_every_setting_a_run_needs(timed: Plan):
    config = PretrainConfig.build({"time": 20.0} | timed.settings())
    assert (config.size, config.batch_size, config.precision) == (timed.size, timed.batch_size, "fp32")
    for name in ("learning_rate", "embedding_learning_rate", "head_learning_rate", "vector_learning_rate", "decay"):
        assert getattr(config, name) > 0


def test_the_table_marks_the_choice_and_lines_up(timed: Plan):
    lines = timed.table()
    assert len(lines) == 1 + len(timed.candidates)
    assert [line.split()[1] for line in lines if line.startswith(">")] == [timed.size]
    assert any("~" in line for line in lines) == any(not candidate.rehearsed for candidate in timed.candidates)


def test_what_is_asked_for_is_kept(store: TokenStore):
    given = {
        "size": "d3",
        "d_model": 32,
        "n_heads": 2,
        "batch_size": 6,
        "micro_batch_size": 2,
        "steps": 7,
        "learning_rate": 0.011,
        "weight_decay": 0.25,
        "evaluation_tokens": 999,
    }
    shape = ("n_heads",)
    found = plan(store, settings(**given))
    for name, value in given.items():
        assert name in shape or getattr(found, name) == value, name
    assert found.tokens == 7 * 6 * 32
    assert found.reason == "d3 was asked for"
    assert len(found.candidates) == 1
    assert found.n_layers == 3


def test_budgets_in_tokens_epochs_and_steps(store: TokenStore):
    n = store.split("train").n_tokens
    by_tokens = plan(store, settings(size="d2", d_model=32, tokens=n))
    by_epochs = plan(store, settings(size="d2", d_model=32, epochs=1.0))
    assert by_tokens.tokens == by_epochs.tokens == pytest.approx(n, rel=0.05)
    by_steps = plan(store, settings(size="d2", d_model=32, steps=300))
    assert by_steps.steps == 300
    assert by_steps.batch_size * 32 == pytest.approx(tokens_per_step(by_steps.tokens), rel=0.2)


def test_more_epochs_are_foretold_a_lower_loss(store: TokenStore):
    losses = [plan(store, settings(size="d2", d_model=32, epochs=e, batch_size=4)).loss for e in (0.25, 0.5, 1.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1]


def test_gpt2_is_planned_too(store: TokenStore):
    found = plan(store, settings(architecture="gpt2", size="d2", steps=5, dropout=0.1))
    assert found.n_layers == 2
    assert found.memory_bytes > found.n_parameters * 16


def test_a_text_shorter_than_a_window_is_refused(store: TokenStore):
    with pytest.raises(GroundupError, match="one window of context_length 1,000,000"):
        plan(store, settings(context_length=1_000_000, size="d2"))


def test_too_little_memory_is_refused_before_training(store: TokenStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(planner, "free_memory_bytes", lambda device: 1_000_000)
    with pytest.raises(GroundupError, match="not enough memory: the smallest candidate, d2, needs"):
        plan(store, settings(time=5.0))


def test_a_size_too_large_to_be_built_is_refused_unbuilt(store: TokenStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(planner, "free_memory_bytes", lambda device: 10**9)
    monkeypatch.setattr(rehearsal, "build_model", lambda config: pytest.fail("it was built"))
    needed = 16 * config_for_size("d32", store.vocab_size, 32).n_parameters()
    assert needed > 10**10
    with pytest.raises(GroundupError, match="not enough memory: the smallest candidate, d32, needs at least"):
        plan(store, settings(size="d32", steps=3))


def test_only_sizes_that_fit_are_rehearsed(store: TokenStore, monkeypatch: pytest.MonkeyPatch):
    free = 1.25 * 16 * config_for_size("d4", store.vocab_size, 32).n_parameters()
    monkeypatch.setattr(planner, "free_memory_bytes", lambda device: free)  # four fifths of it can be used
    machine = Machine(monkeypatch, 1e15)  # on which larger ones would be better
    found = plan(store, settings(time=30.0))
    assert max(candidate.n_parameters for candidate in found.candidates) * 16 <= free * planner.MEMORY_SHARE
    assert [candidate.fits for candidate in found.candidates] == [True, False, False]  # d2, d3, d4
    assert machine.rehearsed == [2]


def test_the_first_rehearsal_leaves_room_for_its_batch(store: TokenStore, monkeypatch: pytest.MonkeyPatch):
    model = config_for_size("d4", store.vocab_size, 32)
    row_bytes = least_bytes(model, 1) - least_bytes(model)
    room = (least_bytes(model) + 3.5 * rehearsal.CPU_ALLOCATOR * row_bytes) / planner.MEMORY_SHARE
    monkeypatch.setattr(planner, "free_memory_bytes", lambda device: room)
    machine = Machine(monkeypatch, 1e9)
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


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_every_process_gets_an_equal_share(store: TokenStore, monkeypatch: pytest.MonkeyPatch, world_size: int):
    Machine(monkeypatch, 1e9)
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


def test_processes_share_the_work_and_the_memory(store: TokenStore, monkeypatch: pytest.MonkeyPatch):
    Machine(monkeypatch, 1e9)
    given = {"size": "d2", "d_model": 32, "batch_size": 8, "steps": 100}
    one, four = (plan(store, settings(**given), world_size=n) for n in (1, 4))
    assert four.tokens_per_second == pytest.approx(4 * one.tokens_per_second)
    assert four.batch_size == 8
    assert (one.micro_batch_size, four.micro_batch_size) == (8, 2)
    free = 16 * one.n_parameters / planner.MEMORY_SHARE * 2
    monkeypatch.setattr(planner, "free_memory_bytes", lambda device: free)
    with pytest.raises(GroundupError, match="needs at least"):
        plan(store, settings(**given), world_size=4)


def test_a_batch_that_cannot_be_shared_is_refused(store: TokenStore):
    with pytest.raises(GroundupError, match=r"batch_size 8 .* 3 equal shares .* micro-batches of 1; .* multiple of 3"):
        plan(store, settings(size="d2", steps=3, batch_size=8), world_size=3)
    with pytest.raises(GroundupError, match="multiple of 6"):
        plan(store, settings(size="d2", steps=3, batch_size=8, micro_batch_size=3), world_size=2)


def test_the_batch_is_cut_until_it_fits_the_memory():
    cost = Rehearsal(
        "cpu", "fp32", "", 1, 0.1, 0.1, 0.1, 0.1, saved_row_bytes=10_000_000, weight_bytes=10**6, optimizer_bytes=10**6
    )
    bare = object.__new__(planner._Planner)
    bare.config, bare.context_length, bare.vocab_size, bare.world_size = settings(), 32, 100, 1
    bare.base_bytes, bare.usable_bytes = 0, 110_000_000
    assert bare._micro_batch_size(cost, 12) == 4
    assert bare._micro_batch_size(replace(cost, saved_row_bytes=1_000), 12) == 12
    assert bare._micro_batch_size(replace(cost, saved_row_bytes=10**9), 12) == 1
    bare.world_size = 4
    assert bare._micro_batch_size(replace(cost, saved_row_bytes=1_000), 12) == 3


def test_rules():
    assert [round(tokens_per_step(n)) for n in (160_000, 4_000_000)] == [800, 4000]
    assert [default_context_length(n) for n in (100, 10**6, 10**8, 10**9)] == [99, 256, 512, 1024]
    assert [readable_seconds(s) for s in (5, 75, 120, 3600, 5400)] == [
        "5 s",
        "1 min 15 s",
        "2 min",
        "1 h",
        "1 h 30 min",
    ]
    assert [readable_count(n) for n in (7, 1536, 999_900, 2.5e9)] == ["7", "1.54k", "1M", "2.5B"]


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
    assert foretold == pytest.approx(truth, rel=0.25)  # both beyond the bare process
