"""Several architectures on one text: settled once, trained each alone, gone on with, never twice."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from rich.console import Console

import groundup as gu
from groundup.core.runs import RunFolder
from groundup.inspect.architecture_comparison import comparison_terminal
from groundup.pretraining.child_run import newest_row, train_in_child
from groundup.pretraining.comparison import PAGE, SETTLED, Settled
from groundup.pretraining.config import PretrainConfig

SMALL = {
    "steps": 3,
    "parameters": 75_000,
    "context_length": 32,
    "batch_size": 4,
    "micro_batch_size": 4,
    "precision": "fp32",
    "compile": "off",
    "threads": 1,
    "vocab_size": 300,
    "sample_tokens": 4,
    "evaluations": 2,
    "evaluation_tokens": 256,
}


@pytest.fixture(scope="module")
def out(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("comparison") / "both"


@pytest.fixture(scope="module")
def found(stories: Path, out: Path):
    return gu.compare_architectures(stories, models=["gpt2", "qwen3"], out=out, **SMALL)


def test_each_is_a_run_on_the_same_text_with_the_same_budget(found, out: Path):
    assert [model.name for model in found.models] == ["gpt2", "qwen3"]
    configs = [PretrainConfig.read(RunFolder.open(out / model.name).config) for model in found.models]
    assert [config.architecture for config in configs] == ["gpt2", "qwen3"]
    for same in ("data", "steps", "context_length", "batch_size", "seed", "sample_prompt", "tie_embeddings"):
        assert len({str(getattr(config, same)) for config in configs}) == 1, same
    hashes = [json.loads((out / m.name / "environment.json").read_text())["tokenizer_sha256"] for m in found.models]
    assert hashes[0] == hashes[1]


def test_the_figures_are_those_of_the_runs(found, out: Path):
    for model in found.models:
        run = RunFolder.open(out / model.name)
        summary, rows = run.read_summary(), run.read_metrics()
        opened = gu.load(model.run).model
        assert model.n_parameters == opened.n_parameters()
        assert abs(model.n_parameters / 75_000 - 1) < 0.1
        assert model.n_block_parameters == opened.n_parameters(embeddings=False)
        assert model.val_loss == summary.val_loss == model.looks[-1][2]
        assert model.n_tokens == 3 * 4 * 32 == model.losses[-1][0]
        assert model.peak_memory_bytes == summary.cost.peak_memory_bytes > 5e7
        assert [loss for *_, loss in model.losses] == [row["train_loss"] for row in rows if "train_loss" in row]
        assert list(model.writing_speed) == [16, 32]
        assert model.sample == tuple(run.read_samples()[-1][key] for key in ("prompt", "text"))
        assert model.state_bytes == opened.config.state_bytes(32)


def test_table_and_page_hold_every_model(found, out: Path):
    written = io.StringIO()
    Console(file=written, width=120).print(comparison_terminal(found))
    html = (out / PAGE).read_text()
    for model in found.models:
        assert f"{model.val_loss:.4f}" in written.getvalue()
        assert f"{model.val_loss:.4f}" in html
        assert f"{model.n_parameters:,}" in html
    assert html.count("<svg") == 5
    assert "3 steps" in html
    best = found.best()
    assert best is not None and best.val_loss == min(model.val_loss for model in found.models)
    assert f"groundup generate {best.run}" in html


def test_what_is_finished_is_not_trained_again(found, out: Path, stories: Path):
    weights = out / "qwen3" / "model" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    again = gu.compare_architectures(stories, models=["qwen3"], out=out, **SMALL)
    assert [model.name for model in again.models] == ["qwen3"]
    assert again.models[0].val_loss == found.models[1].val_loss
    assert weights.stat().st_mtime_ns == before


@pytest.mark.slow
def test_another_model_can_join(found, out: Path, stories: Path):
    more = gu.compare_architectures(stories, models=["gpt2", "llama"], out=out, **SMALL)
    assert more.target_parameters == found.target_parameters
    assert more.models[0].val_loss == found.models[0].val_loss
    assert RunFolder.open(out / "llama").read_summary().status == "finished"


def test_other_settings_are_refused_with_both_values(found, out: Path, stories: Path):
    with pytest.raises(gu.GroundupError, match="steps 3 then, 4 now"):
        gu.compare_architectures(stories, models=["gpt2"], out=out, **SMALL | {"steps": 4})
    with pytest.raises(gu.GroundupError, match="parameters 75000 then, 50000 now"):
        gu.compare_architectures(stories, models=["gpt2"], out=out, **SMALL | {"parameters": 50_000})


@pytest.mark.parametrize(
    ("models", "settings", "words"),
    [
        (["gpt2", "qwen33"], {}, ["qwen33", "qwen3"]),
        (["gpt2", "gpt2"], {}, ["gpt2", "more than once"]),
        ([], {}, ["no models"]),
        (["gpt2"], {"n_layers": 3}, ["n_layers", "--parameters"]),
        (["gpt2"], {"size": "d2"}, ["size d2", "75,000"]),
        (["gpt2", "qwen3"], {"time": "3s"}, ["steps", "time"]),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_made(
    models, settings, words, stories: Path, tmp_path: Path
):
    with pytest.raises(gu.GroundupError) as caught:
        gu.compare_architectures(stories, models=models, out=tmp_path / "out", **SMALL | settings)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_setting_that_one_of_them_cannot_have_names_it(stories: Path, tmp_path: Path, monkeypatch):
    from groundup.pretraining import comparison

    plain = comparison.checked_config

    def strict(data, config, settings):
        if settings["architecture"] == "qwen3":
            raise gu.GroundupError("packing 'best-fit' cannot be used")
        return plain(data, config, settings)

    monkeypatch.setattr(comparison, "checked_config", strict)
    with pytest.raises(gu.GroundupError, match=r"^qwen3: packing 'best-fit' cannot be used$"):
        gu.compare_architectures(stories, models=["gpt2", "qwen3"], out=tmp_path / "out", **SMALL)
    assert not (tmp_path / "out").exists()


def test_a_first_run_that_is_refused_leaves_nothing(stories: Path, tmp_path: Path):
    """Only the run itself finds out that a text was changed after it had been prepared."""
    text = tmp_path / "text"
    shutil.copytree(stories, text)
    gu.prepare(text, gu.train_tokenizer(text, vocab_size=300), tmp_path / "data")
    (text / "07.txt").write_text("Another story altogether.\n")
    settings = {name: value for name, value in SMALL.items() if name != "vocab_size"}
    with pytest.raises(gu.GroundupError, match=r"^gpt2: .*07\.txt changed") as caught:
        gu.compare_architectures(tmp_path / "data", models=["gpt2"], out=tmp_path / "out", **settings)
    assert "gpt2.log" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_run_that_fails_is_named_with_the_end_of_what_it_said(tmp_path: Path):
    PretrainConfig.build({"data": [str(tmp_path / "nowhere")], "steps": 2}).write(tmp_path / "gpt2.yaml")
    with pytest.raises(gu.GroundupError, match=r"^gpt2: .*nowhere does not exist"):
        train_in_child("gpt2", tmp_path / "gpt2.yaml", tmp_path / "gpt2", gu.Reporter())
    assert not (tmp_path / "gpt2.log").exists()


def test_what_a_run_said_that_broke_down_is_kept(tmp_path: Path, monkeypatch):
    PretrainConfig.build({"data": [str(tmp_path)], "steps": 2}).write(tmp_path / "gpt2.yaml")
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho out of memory\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(gu.GroundupError, match=r"^gpt2: out of memory \(all it said is in .*gpt2\.log\)$"):
        train_in_child("gpt2", tmp_path / "gpt2.yaml", tmp_path / "gpt2", gu.Reporter())
    assert (tmp_path / "gpt2.log").read_text() == "out of memory\n"


def test_the_newest_row_of_a_file_that_is_being_written(tmp_path: Path):
    metrics = tmp_path / "metrics.jsonl"
    assert newest_row(metrics) is None
    rows = [{"step": step, "elapsed_seconds": step / 2, "filler": "x" * 50} for step in range(200)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    metrics.write_text(text + '{"step": 200, "val_loss": 3.0}\n{"step": 201, "elap')
    assert newest_row(metrics)["step"] == 199


def test_what_was_settled_reads_back(found, out: Path):
    settled = Settled.read(out / SETTLED)
    assert (settled.parameters, settled.vocab_size, settled.context_length) == (75_000, 300, 32)
    assert settled.given["steps"] == 3
