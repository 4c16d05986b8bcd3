"""A run from text to report, its folder, and going on with it."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

import groundup as gu
from groundup.core.runs import RunFolder


@pytest.fixture(scope="module")
def run(tiny: dict, stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "a"
    result = gu.pretrain(stories, out=path, steps=40, **tiny)
    assert result.outcome == "finished"
    return path


def test_the_run_folder_holds_everything(run: Path):
    present = {entry.name for entry in run.iterdir()}
    assert {
        "config.yaml", "environment.json", "metrics.jsonl", "samples.jsonl", "plan.json", "summary.json",
        "report.html", "tensorboard", "model", "state", "data", "tokenizer",
    } <= present  # fmt: skip
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"} <= {
        entry.name for entry in (run / "model").iterdir()
    }


def test_it_learned(run: Path):
    rows = RunFolder.open(run).read_metrics()
    train = [row for row in rows if "train_loss" in row]
    assert [row["step"] for row in train] == list(range(1, 41))
    assert train[0]["train_loss"] == pytest.approx(math.log(300), abs=0.2)
    assert train[-1]["train_loss"] < 3.0
    last = [row for row in rows if "val_loss" in row][-1]
    assert last["val_perplexity"] == pytest.approx(math.exp(last["val_loss"]))
    assert last["val_bits_per_byte"] < 2.5
    assert all(row["tokens"] == row["step"] * 8 * 32 for row in train)


def test_the_resolved_config_repeats_the_run_to_the_bit(run: Path, tmp_path: Path, stories: Path):
    from groundup.core.config import read_yaml

    settings = read_yaml(run / "config.yaml")
    assert settings["steps"] == 40
    settings.pop("data")
    again = gu.pretrain(run / "data", out=tmp_path / "again", **_without_text_settings(settings))
    assert again.outcome == "finished"
    first, second = (load_file(path / "model" / "model.safetensors") for path in (run, tmp_path / "again"))
    assert all((first[name] == second[name]).all() for name in first)


def _without_text_settings(settings: dict) -> dict:
    return {k: v for k, v in settings.items() if v is not None and k not in ("vocab_size", "text_field", "separator")}


def test_a_finished_run_that_is_resumed_changes_nothing(run: Path):
    before = (run / "model" / "model.safetensors").read_bytes()
    n_rows = len(RunFolder.open(run).read_metrics())
    assert gu.resume(run).outcome == "finished"
    assert (run / "model" / "model.safetensors").read_bytes() == before
    assert len(RunFolder.open(run).read_metrics()) == n_rows


def test_the_model_opens_and_writes(run: Path):
    model = gu.load(str(run))
    text = model.generate("the cat", max_new_tokens=12, temperature=0)
    assert text == model.generate("the cat", max_new_tokens=12, temperature=0)
    assert isinstance(text, str)
    assert text.strip()


def test_the_summary_tells_what_was_measured(run: Path):
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["cost"]["n_tokens"] == 40 * 8 * 32
    assert summary["checks"]["model folder read back"] == "max |logit difference| 0.0e+00"
    assert {forecast["name"] for forecast in summary["forecasts"]} >= {
        "training time",
        "validation loss",
        "peak memory",
    }
    assert all(forecast["actual"] is not None for forecast in summary["forecasts"])


def test_a_second_run_in_the_same_place_is_refused(tiny: dict, run: Path, stories: Path):
    with pytest.raises(gu.GroundupError, match="groundup resume"):
        gu.pretrain(stories, out=run, steps=40, **tiny)


KILLED_RUN = """
import sys, json
import groundup as gu
settings = json.loads(sys.argv[3])
gu.pretrain(sys.argv[1], out=sys.argv[2], **settings)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kill_at_step", [3, 60])
def test_killed_and_resumed_equals_never_killed(tiny: dict, stories: Path, tmp_path: Path, kill_at_step: int):
    settings = tiny | {"steps": 120, "save_every": 0.05, "architecture": "gpt2", "dropout": 0.1, "optimizer": "muon"}
    gu.pretrain(stories, out=tmp_path / "whole", **settings)
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_RUN, str(stories), str(killed), json.dumps(settings)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while process.poll() is None and _steps(killed) < kill_at_step:
        time.sleep(0.002)
    assert process.poll() is None, "the run ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert gu.resume(killed).outcome == "finished"
    first, second = (load_file(path / "model" / "model.safetensors") for path in (tmp_path / "whole", killed))
    assert first.keys() == second.keys()
    assert all((first[name] == second[name]).all() for name in first)
    steps = [row["step"] for row in RunFolder.open(killed).read_metrics() if "train_loss" in row]
    assert steps == list(range(1, 121))


def _steps(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return metrics.read_bytes().count(b"train_loss") if metrics.exists() else 0


def test_a_changed_tokenizer_is_noticed_on_resume(tiny: dict, stories: Path, tmp_path: Path):
    gu.pretrain(stories, out=tmp_path / "run", steps=2, **tiny)
    path = tmp_path / "run" / "data" / "tokenizer" / "tokenizer.json"
    values = json.loads(path.read_text())
    first, second = list(values["model"]["vocab"])[-2:]
    vocab = values["model"]["vocab"]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    path.write_text(json.dumps(values))
    with pytest.raises(gu.GroundupError, match="tokenizer"):
        gu.resume(tmp_path / "run")


def test_a_damaged_shard_is_named_on_resume(tiny: dict, stories: Path, tmp_path: Path):
    gu.pretrain(stories, out=tmp_path / "run", steps=2, **tiny)
    shard = tmp_path / "run" / "data" / "train-00000.tokens"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(gu.GroundupError, match=r"train-00000\.tokens"):
        gu.resume(tmp_path / "run")


def test_a_diverged_run_says_so_and_keeps_the_last_good_state(tiny: dict, stories: Path, tmp_path: Path):
    settings = tiny | {"save_every": 0.01, "learning_rate": 1e6, "optimizer": "adamw", "gradient_clip": 1e9}
    with pytest.raises(gu.GroundupError, match="diverged"):
        gu.pretrain(stories, out=tmp_path / "run", steps=60, **settings)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "diverged"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 5, "time": "10s"}, ["time", "steps", "one of"]),
        ({"learning_rat": 0.1}, ["learning_rat", "learning_rate"]),
        ({"steps": -3}, ["steps", "-3"]),
        ({"time": "soon"}, ["soon", "10m"]),
        ({"dropout": 0.1, "steps": 5}, ["dropout", "qwen3", "gpt2"]),
        ({"architecture": "gtp2", "steps": 5}, ["gtp2", "gpt2"]),
        ({"size": "dee", "steps": 5}, ["dee", "d4"]),
    ],
)
def test_settings_that_cannot_be_used_are_explained(stories: Path, tmp_path: Path, settings: dict, words: list[str]):
    with pytest.raises(gu.GroundupError) as caught:
        gu.pretrain(stories, out=tmp_path / "run", **settings)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_kill_between_plan_and_resolved_settings_costs_the_plan_only(tiny: dict, stories: Path, tmp_path: Path):
    """The plan is written first: with most settings given by hand, the unresolved file must not pass for resolved."""
    from groundup.core.config import read_yaml

    gu.pretrain(stories, out=tmp_path / "run", steps=2, **tiny)
    for name in ("summary.json", "metrics.jsonl"):
        (tmp_path / "run" / name).unlink()
    settings = read_yaml(tmp_path / "run" / "config.yaml")
    lines = [f"{name}: {value}" for name, value in (tiny | {"steps": 2, "data": settings["data"]}).items()]
    (tmp_path / "run" / "config.yaml").write_text("\n".join(lines).replace("off", "'off'") + "\n")
    assert gu.resume(tmp_path / "run").outcome == "finished"
    assert read_yaml(tmp_path / "run" / "config.yaml")["warmup"] is not None


def test_a_plan_of_another_version_is_said(tiny: dict, stories: Path, tmp_path: Path):
    gu.pretrain(stories, out=tmp_path / "run", steps=2, **tiny)
    (tmp_path / "run" / "summary.json").unlink()
    (tmp_path / "run" / "plan.json").write_text("{}")
    with pytest.raises(gu.GroundupError, match=r"plan\.json"):
        gu.resume(tmp_path / "run")


def test_a_changed_source_is_refused_before_training_and_on_resume(tiny: dict, stories: Path, tmp_path: Path):
    text = tmp_path / "text"
    shutil.copytree(stories, text)
    tokenizer = gu.train_tokenizer(text, vocab_size=300)
    gu.prepare(text, tokenizer, tmp_path / "data")
    settings = {name: value for name, value in tiny.items() if name != "vocab_size"}
    gu.pretrain(tmp_path / "data", out=tmp_path / "run", steps=2, **settings)

    changed = text / "07.txt"
    before = changed.read_text()
    changed.write_text(before + "poison")
    with pytest.raises(gu.GroundupError, match=rf"{changed} changed"):
        gu.pretrain(tmp_path / "data", out=tmp_path / "refused", steps=2, **settings)
    assert not (tmp_path / "refused").exists()
    result = gu.pretrain(tmp_path / "data", out=tmp_path / "accepted", steps=2, changed_sources="accept", **settings)
    assert result.outcome == "finished"

    config, summary = (tmp_path / "run" / name for name in ("config.yaml", "summary.json"))
    config.write_text(config.read_text().replace("steps: 2", "steps: 4"))
    summary.unlink()
    with pytest.raises(gu.GroundupError, match=rf"{changed} changed"):
        gu.resume(tmp_path / "run")
    assert not summary.exists()
    assert gu.resume(tmp_path / "run", changed_sources="accept").outcome == "finished"
