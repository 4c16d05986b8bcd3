"""Runs on mixtures and packed rows: exact shares, figures of each source, resumed to the bit, refused with a name."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file

import groundup as gu
from groundup.core.config import read_yaml
from groundup.core.progress import Reporter
from groundup.core.runs import RunFolder
from groundup.data.packing import training_rows
from groundup.training.step import take_step


class Heard(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str = "") -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def stores(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The stories, and a smaller text of numbers, prepared with one tokenizer."""
    folder = tmp_path_factory.mktemp("mixed")
    texts = [f"{n} times {m} is {n * m}. " * 3 for n in range(2, 14) for m in range(2, 8)]
    (folder / "sums.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenizer = gu.train_tokenizer([stories, folder / "sums.jsonl"], vocab_size=300)
    gu.prepare(stories, tokenizer, folder / "stories")
    gu.prepare(folder / "sums.jsonl", tokenizer, folder / "sums")
    return {"stories": folder / "stories", "sums": folder / "sums"}


@pytest.fixture
def settings(tiny: dict, stores: dict[str, Path]) -> dict:
    """A mixture, packed, with tokens dropped: everything that could go astray in a resume."""
    mix = [f"tales={stores['stories']}:3", f"sums={stores['sums']}:1"]
    without = {name: value for name, value in tiny.items() if name != "vocab_size"}
    return without | {"mix": mix, "packing": "best-fit", "drop_tokens": 2, "steps": 24}


def test_a_mixed_run_tells_of_each_source(settings: dict, stores: dict[str, Path], tmp_path: Path):
    heard = Heard()
    result = gu.pretrain(out=tmp_path / "run", reporter=heard, **settings)
    run = RunFolder.open(result.path)
    kept = read_yaml(run.config)
    assert [(each["name"], each["weight"]) for each in kept["mix"]] == [("tales", 3.0), ("sums", 1.0)]
    assert [each["data"] for each in kept["mix"]] == [str(stores["stories"]), str(stores["sums"])]

    told = "\n".join(heard.lines)
    assert "75.0%" in told
    assert "packed into" in told
    (row,) = [row for row in run.read_metrics() if row.get("val_loss") is not None and row["step"] == 24]
    losses = {name: row[f"val_loss/{name}"] for name in ("tales", "sums")}
    assert row["val_loss"] == pytest.approx(0.75 * losses["tales"] + 0.25 * losses["sums"])
    assert losses["tales"] != losses["sums"]
    assert row["val_perplexity"] == pytest.approx(math.exp(row["val_loss"]))
    low, high = sorted(row[f"val_bits_per_byte/{name}"] for name in ("tales", "sums"))
    assert low <= row["val_bits_per_byte"] <= high
    # 24 steps of 8 rows: 144 of the tales, 48 of the sums, each row nearly full.
    assert 0.9 * 144 * 32 < row["tokens/tales"] <= 144 * 32
    assert 0.9 * 48 * 32 < row["tokens/sums"] <= 48 * 32
    assert row["epoch/sums"] > row["epoch/tales"] > 0

    summary = run.read_summary()
    assert summary.data is not None
    tales, sums = summary.data.mixture
    assert (tales.name, tales.share, tales.n_tokens_read) == ("tales", 0.75, row["tokens/tales"])
    assert (sums.epochs, sums.val_loss) == (row["epoch/sums"], losses["sums"])
    report = run.report.read_text()
    assert "Validation loss of each source" in report
    assert "75.0%" in report
    assert "75.0% tales" in (run.model / "README.md").read_text()


def test_a_mixed_run_stopped_and_resumed_is_the_run_never_stopped(settings: dict, tmp_path: Path, monkeypatch):
    gu.pretrain(out=tmp_path / "whole", **settings)
    n_taken = 0

    def stop_in_the_middle(*arguments):
        nonlocal n_taken
        n_taken += 1
        if n_taken == 15:
            os.kill(os.getpid(), signal.SIGINT)
        return take_step(*arguments)

    monkeypatch.setattr("groundup.training.loop.take_step", stop_in_the_middle)
    assert gu.pretrain(out=tmp_path / "stopped", **settings).interrupted
    monkeypatch.undo()
    assert gu.resume(tmp_path / "stopped").outcome == "finished"
    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "stopped"))
    assert [name for name in one if not (one[name] == other[name]).all()] == []
    rows = [RunFolder.open(tmp_path / name).read_metrics() for name in ("whole", "stopped")]
    tokens = [[row.get("tokens/sums") for row in each if row["step"] == 24] for each in rows]
    assert tokens[0] == tokens[1] != []


def test_a_source_that_is_gone_or_another_is_refused_by_name(settings: dict, stores: dict[str, Path], tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(stores["sums"], copy)
    mix = [f"tales={stores['stories']}:3", f"sums={copy}:1"]
    gu.pretrain(out=tmp_path / "run", **(settings | {"mix": mix, "steps": 2}))
    shutil.rmtree(copy)
    with pytest.raises(gu.GroundupError, match=rf"source sums of the mixture: {copy}"):
        gu.resume(tmp_path / "run")
    tokenizer = gu.Tokenizer.load(stores["sums"] / "tokenizer")
    (tmp_path / "text.txt").write_text("another text altogether, and not a short one. " * 60)
    gu.prepare(tmp_path / "text.txt", tokenizer, copy)
    with pytest.raises(gu.GroundupError, match=r"source sums of .* has changed"):
        gu.resume(tmp_path / "run")


def test_shares_from_sizes_are_settled_in_the_run(settings: dict, stores: dict[str, Path], tmp_path: Path):
    mix = [f"tales={stores['stories']}", f"sums={stores['sums']}"]
    gu.pretrain(out=tmp_path / "run", **(settings | {"mix": mix, "mix_alpha": 0.5, "steps": 2}))
    kept = read_yaml(tmp_path / "run" / "config.yaml")
    assert kept["mix_alpha"] is None
    sizes = {name: gu.TokenStore.open(path).split("train").n_tokens for name, path in stores.items()}
    wanted = math.sqrt(sizes["stories"]) / (math.sqrt(sizes["stories"]) + math.sqrt(sizes["sums"]))
    tales, sums = (each["weight"] for each in kept["mix"])
    assert tales / (tales + sums) == pytest.approx(wanted, abs=1e-4)


def test_a_plan_of_a_mixture_tells_epochs_and_cuts(settings: dict, stores: dict[str, Path]):
    heard = Heard()
    found = gu.plan(reporter=heard, **(settings | {"packing": "windows", "drop_tokens": 0}))
    assert found.tokens == 24 * 8 * 32
    (row,) = [line.split() for line in heard.lines if line.strip().startswith("sums")]
    n_windows = (gu.TokenStore.open(stores["sums"]).split("train").n_tokens - 1) // 32
    assert row[1:3] == ["1", "25.0%"]
    assert float(row[-1]) == pytest.approx(48 / n_windows, abs=0.05)
    assert sum("borders cut" in line for line in heard.lines) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": ["x"]}, ["data", "mix"]),
        ({"mix_alpha": 0.5}, ["mix_alpha"]),
        ({"mix": ["web=nowhere:1", "law=nowhere2:1"]}, ["source web", "nowhere"]),
        ({"mix": ["web=nowhere:-1", "law=x:1"]}, ["the weight of web is -1"]),
        ({"stride": 4}, ["stride 4", "best-fit"]),
        ({"drop_tokens": 32}, ["drop_tokens 32", "context_length 32"]),
        ({"packing": "bestfit"}, ["packing", "bestfit"]),
        ({"text_field": "body"}, ["text_field", "no effect", "mixture"]),
    ],
)
def test_what_cannot_be_is_said(settings: dict, tmp_path: Path, changes: dict, words: list[str]):
    with pytest.raises(gu.GroundupError) as caught:
        gu.pretrain(out=tmp_path / "run", **(settings | changes))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not (tmp_path / "run").exists()


def test_alpha_without_a_mixture_is_refused(tiny: dict, stories: Path, tmp_path: Path):
    with pytest.raises(gu.GroundupError, match="mix_alpha has no effect"):
        gu.pretrain(stories, out=tmp_path / "run", mix_alpha=0.5, steps=2, **tiny)


@pytest.mark.parametrize("reading", [{"packing": "best-fit"}, {"stride": 8}, {}])
def test_an_epoch_is_every_row_once(tiny: dict, stores: dict[str, Path], reading: dict):
    without = {name: value for name, value in tiny.items() if name != "vocab_size"}
    found = gu.plan(stores["stories"], epochs=1.5, **(without | reading))
    rows = training_rows(gu.TokenStore.open(stores["stories"]).split("train"), 32, **reading)
    assert found.steps == round(1.5 * len(rows) / 8)
    assert found.epochs == pytest.approx(1.5, abs=0.5 * 8 / len(rows) + 1e-9)


def test_every_source_of_a_mixture_is_verified(settings: dict, stores: dict[str, Path], tmp_path: Path):
    text = tmp_path / "more.txt"
    text.write_text("the cat sees the river.\n" * 200)
    gu.prepare(text, gu.Tokenizer.load(next(iter(stores.values())) / "tokenizer"), tmp_path / "more")
    mix = [f"{name}={folder}:1" for name, folder in stores.items()] + [f"more={tmp_path / 'more'}:1"]
    settings = settings | {"mix": mix, "steps": 1}
    before = text.read_text()
    text.write_text(before.replace("cat", "rat", 1))
    with pytest.raises(gu.GroundupError, match=r"more\.txt changed since"):
        gu.pretrain(out=tmp_path / "run", **settings)
    text.write_text(before)
    shard = tmp_path / "more" / "train-00000.tokens"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    with pytest.raises(gu.GroundupError, match=r"source more of the mixture: shard .* is damaged"):
        gu.pretrain(out=tmp_path / "run", **settings)
    shard.write_bytes(whole)
    assert gu.pretrain(out=tmp_path / "run", **settings).outcome == "finished"
