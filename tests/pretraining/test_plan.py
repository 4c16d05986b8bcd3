"""A plan: its file, its table, the settings it gives a run, and what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.core.progress import Reporter
from groundup.core.runs import RunFolder
from groundup.data.mixture import Mixture
from groundup.data.store import TokenStore
from groundup.models import build_model, config_for_size
from groundup.pretraining import resolve
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.course import tokens_per_step
from groundup.pretraining.plan import Plan, readable_count, readable_seconds
from groundup.pretraining.planner import default_context_length
from groundup.pretraining.summary import summarize
from groundup.tokenization.tokenizer import Tokenizer


class Heard(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str = "") -> None:
        self.lines.append(text)


def test_a_run_uses_the_decisions_of_its_plan(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machine_of, settings
):
    machine_of(1e8)
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


def test_the_summary_holds_the_plan_against_what_came(store: TokenStore, timed: Plan, tmp_path: Path, settings):
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
