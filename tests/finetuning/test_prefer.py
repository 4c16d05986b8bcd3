"""A run on preferences: what it reads and refuses, what it is measured by, and that it learns and resumes to the bit."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from groundup.checkpoints.model_folder import is_adapter_folder, load_model, save_model
from groundup.core.errors import GroundupError
from groundup.core.runs import RunFolder
from groundup.finetuning.prefer_data import TRAIN, VALIDATION, Judged
from groundup.finetuning.run import finetune, resume
from groundup.models import build_model, config_for_size
from groundup.tokenization.training import train_tokenizer

SETTINGS = {
    "precision": "fp32",
    "threads": 1,
    "batch_size": 8,
    "micro_batch_size": 4,
    "steps": 12,
    "learning_rate": 3e-3,
    "evaluations": 2,
    "validation_fraction": 0.2,
}
THINGS = ["river", "stone", "apple", "house", "road", "song", "door", "bird", "child", "teacher", "letter", "garden"]


def rows(n: int = 60) -> list[dict]:
    """Polite answers are preferred to rude ones."""
    draw = random.Random(0)
    made = []
    for number in range(n):
        thing = f"{draw.choice(THINGS)} {number}"
        made.append(
            {
                "prompt": f"Where is the {thing}?",
                "chosen": f"The {thing} is over there, my friend.",
                "rejected": f"Find the {thing} yourself!",
            }
        )
    return made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = [f"{row['prompt']} {row['chosen']} {row['rejected']}" for row in rows()]
    tokenizer = train_tokenizer(text, vocab_size=330)
    config = config_for_size("d2", tokenizer.vocab_size, 64, "qwen3", d_model=32, d_head=16)
    place = tmp_path_factory.mktemp("model") / "model"
    save_model(place, build_model(config, seed=0), tokenizer)
    return place


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    place.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    return place


@pytest.fixture(scope="module")
def judged_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data") / "judged.jsonl"
    lines = []
    for number, row in enumerate(rows()):
        liked = number % 3 != 0
        lines.append({"prompt": row["prompt"], "completion": row["chosen" if liked else "rejected"], "label": liked})
    place.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return place


def weights(folder: Path) -> torch.Tensor:
    model, _ = load_model(folder, dtype=torch.float32)
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("loss", ["dpo", "ipo", "orpo", "simpo"])
def test_pairs_teach_which_answer_is_better(model, pairs, tmp_path, loss):
    result = finetune("prefer", model, pairs, out=tmp_path / "run", loss=loss, **SETTINGS)
    looks = [row for row in RunFolder(tmp_path / "run").read_metrics() if "val_loss" in row]
    assert [row["step"] for row in looks] == [0, 6, 12]
    if loss in ("dpo", "ipo"):
        assert looks[0]["val_reward_margin"] == pytest.approx(0, abs=1e-5), "the reference is the model itself"
        assert looks[0]["val_reward_accuracy"] == 0.5
        assert looks[0]["val_loss"] == pytest.approx({"dpo": np.log(2), "ipo": 25.0}[loss], abs=1e-4)
    assert looks[-1]["val_loss"] < looks[0]["val_loss"]
    assert looks[-1]["val_reward_margin"] > looks[0]["val_reward_margin"]
    assert result.scores["val_reward_accuracy"] == 1.0
    assert result.max_logit_difference is not None and result.max_logit_difference < 1e-5
    assert (tmp_path / "run" / "report.html").is_file()


def test_judged_answers_teach_too(model, judged_rows, tmp_path):
    finetune("prefer", model, judged_rows, out=tmp_path / "run", loss="kto", **SETTINGS)
    run = RunFolder(tmp_path / "run")
    looks = [row for row in run.read_metrics() if "val_loss" in row]
    assert looks[-1]["val_reward_margin"] > looks[0]["val_reward_margin"] + 1e-3
    assert looks[-1]["val_reward_accuracy"] > 0.9
    found = Judged.open(run.path / "data")
    liked = found.liked_N[found.side_N == TRAIN]
    assert f"disliked_weight: {liked.sum() / (~liked).sum():.4g}"[:20] in run.config.read_text()


def test_pairs_are_judged_answers_for_kto(model, pairs, tmp_path):
    result = finetune("prefer", model, pairs, out=tmp_path / "run", loss="kto", **SETTINGS)
    assert result.scores["val_reward_accuracy"] > 0.9


def test_an_adapter_is_gone_on_with_and_the_base_stays(model, pairs, tmp_path):
    before = weights(model)
    finetune("prefer", model, pairs, out=tmp_path / "one", lora="r=4", **SETTINGS)
    assert is_adapter_folder(tmp_path / "one" / "model")
    result = finetune("prefer", tmp_path / "one", pairs, out=tmp_path / "two", **SETTINGS)
    assert is_adapter_folder(tmp_path / "two" / "model")
    assert result.scores["val_reward_accuracy"] == 1.0
    first = next(row for row in RunFolder(tmp_path / "two").read_metrics() if "val_loss" in row)
    assert first["val_reward_margin"] == pytest.approx(0, abs=1e-5), "the reference is where this run began"
    assert torch.equal(weights(model), before)


@pytest.mark.parametrize("loss", ["dpo", "kto"])
def test_a_run_stopped_and_gone_on_with_ends_as_one_that_never_stopped(model, pairs, tmp_path, loss, monkeypatch):
    monkeypatch.chdir(model.parent)
    finetune("prefer", "model", pairs, out=tmp_path / "whole", loss=loss, **SETTINGS)

    from groundup.finetuning import run as runs

    def stopped(tuning, run, ranks, reporter, train=runs.train):
        def few_steps(job, **more):
            from dataclasses import replace

            steps = 5
            batches = job.batches

            def until(step):
                if step >= steps:
                    raise KeyboardInterrupt
                return batches(step)

            return train(replace(job, batches=until, save_every_seconds=1e-9), **more)

        monkeypatch.setattr(runs, "train", few_steps)
        try:
            return inner(tuning, run, ranks, reporter)
        finally:
            monkeypatch.setattr(runs, "train", train)

    inner = runs._train
    monkeypatch.setattr(runs, "_train", stopped)
    with pytest.raises(KeyboardInterrupt):
        finetune("prefer", "model", pairs, out=tmp_path / "cut", loss=loss, **SETTINGS)
    monkeypatch.setattr(runs, "_train", inner)
    monkeypatch.chdir(tmp_path)  # the run knows where its model lies
    resume("cut")
    assert torch.equal(weights(tmp_path / "whole" / "model"), weights(tmp_path / "cut" / "model"))


def test_a_prompt_is_on_one_side_and_only_the_answer_is_judged(model, tmp_path):
    twice = [row | {"chosen": f"{row['chosen']} {turn}"} for row in rows(40) for turn in ("Good luck.", "Bye.")]
    (tmp_path / "twice.jsonl").write_text("".join(json.dumps(row) + "\n" for row in twice))
    finetune("prefer", model, tmp_path / "twice.jsonl", out=tmp_path / "run", **(SETTINGS | {"steps": 1}))
    found = Judged.open(tmp_path / "run" / "data")
    _, tokenizer = load_model(model)
    sides: dict[str, set[int]] = {}
    for index in range(len(found.examples)):
        ids, trained = found.examples.example(index)
        start = found.answer_start(index)
        assert trained[start:].all() and not trained[:start].any()
        assert tokenizer.decode(ids[start:].tolist()).endswith("<|im_end|>")
        sides.setdefault(tokenizer.decode(ids[:start].tolist()), set()).add(int(found.side_N[index]))
    assert len(sides) == 40 and all(len(each) == 1 for each in sides.values())
    assert {side for each in sides.values() for side in each} == {TRAIN, VALIDATION}
    assert (found.partner_N[found.partner_N] == np.arange(len(found.examples))).all()


def refused(model: Path, data: Path, out: Path, lines: list[dict], **settings) -> str:
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(GroundupError) as error:
        finetune("prefer", model, data, out=out, **(SETTINGS | settings))
    assert not out.exists()
    return str(error.value)


def test_what_cannot_be_learned_from_is_refused_with_the_way_out(model, pairs, judged_rows, tmp_path):
    data, out = tmp_path / "rows.jsonl", tmp_path / "run"
    long = [row | {"chosen": "very " * 200} for row in rows(10)] + rows(10)
    assert "does not fit" in refused(model, data, out, long)
    assert "at most 5% may be left out" in refused(model, data, out, long)
    assert "only --loss kto learns" in refused(
        model, data, out, [json.loads(x) for x in judged_rows.read_text().splitlines()]
    )
    liked = [{"prompt": row["prompt"], "completion": row["chosen"], "label": True} for row in rows()]
    assert "all answers are liked" in refused(model, data, out, liked, loss="kto")
    assert "gamma 1 has no effect with loss dpo" in refused(model, data, out, rows(), gamma=1.0)
    assert "exceeds the 64 positions" in refused(model, data, out, rows(), context_length=100)
    assert "no row is left for validation" in refused(model, data, out, rows(), validation_fraction=0.0)


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "loss", "n_rows"),
    [
        ("llamafactory_dpo_zh_300", "dpo", 260),
        ("llamafactory_kto_en_300", "kto", 110),
        ("rasbt_preference_1100", "simpo", 1_000),
    ],
)
def test_published_preference_sets_are_learned_from(model, shared_data, tmp_path, name, loss, n_rows):
    """Whole files; a model of nothing cannot learn what people like, but it learns the sides it is shown apart."""
    _, tokenizer = load_model(model)
    wide = tmp_path / "wide"
    config = config_for_size("d1", tokenizer.vocab_size, 1024, "gpt2", d_model=32, d_head=16)
    save_model(wide, build_model(config, seed=0), tokenizer)
    settings = SETTINGS | {"steps": 30, "max_rejected": 1.0, "evaluations": 1, "context_length": 1024}
    settings |= {"learning_rate": 5e-3, "validation_fraction": None}
    file = shared_data / "preference" / f"{name}.json"
    result = finetune("prefer", wide, file, validation_data=(str(file),), out=tmp_path / "run", loss=loss, **settings)
    assert result.outcome == "finished"
    curve = [row["val_loss"] for row in RunFolder(tmp_path / "run").read_metrics() if "val_loss" in row]
    assert curve[-1] < 0.99 * curve[0], curve
    found = Judged.open(tmp_path / "run" / "data")
    assert len(found.examples) >= n_rows * (1 if loss == "kto" else 2) * 0.5
