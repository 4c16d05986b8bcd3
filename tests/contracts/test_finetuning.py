"""What every method of fine-tuning promises: the loss falls on a handful of rows, a step is the same however it is cut, a
killed run goes on to the bit, and what is frozen does not move. A method is a case here: its settings and a handful of rows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from groundup.checkpoints.model_folder import save_model
from groundup.checkpoints.tensor_files import read_tensors
from groundup.core.runs import RunFolder
from groundup.finetuning.run import finetune, resume
from groundup.models import build_model, config_for_size
from groundup.tokenization.training import train_tokenizer


@dataclass(frozen=True)
class Case:
    """A method with settings of its own, the rows it learns from, and names of the folder's tensors it may not move."""

    method: str
    rows: str  # the contents of a file
    suffix: str
    settings: dict[str, Any] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()


WORDS = [
    f"{colour} {animal}"
    for colour in ("red", "blue", "green", "black")
    for animal in ("cat", "dog", "fish", "ant", "owl")
]
LABELLED = "text,label\n" + "".join(
    f"{WORDS[i % 20]} {WORDS[(i * 7) % 20]} {'sun' if i % 2 else 'rain'} {i},{'dry' if i % 2 else 'wet'}\n"
    for i in range(40)
)
CHATS = "".join(json.dumps({"prompt": words, "completion": words.split()[0]}) + "\n" for words in WORDS)
CHATTING = {"packing": "none", "template": "chatml", "validation_fraction": 0.2}
PAIRS = "".join(
    json.dumps({"prompt": words, "chosen": words.split()[0], "rejected": words.split()[1]}) + "\n" for words in WORDS
)
PREFERRING = {"template": "chatml", "validation_fraction": 0.2}
CASES = {
    "instruct": Case("instruct", CHATS, ".jsonl", CHATTING),
    "instruct-lora": Case("instruct", CHATS, ".jsonl", CHATTING | {"lora": "r=4", "learning_rate": 2e-2}),
    "classify-all": Case("classify", LABELLED, ".csv", {"train": "all"}),
    "classify-last-block": Case(
        "classify",
        LABELLED,
        ".csv",
        {"train": "last-block"},
        frozen=("model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"),
    ),
    "classify-head": Case(
        "classify", LABELLED, ".csv", {"train": "head"}, frozen=("model.layers.1.mlp.up_proj.weight",)
    ),
    "classify-lora": Case("classify", LABELLED, ".csv", {"lora": "r=4"}),
    "prefer-dpo": Case("prefer", PAIRS, ".jsonl", PREFERRING),
    "prefer-orpo": Case("prefer", PAIRS, ".jsonl", PREFERRING | {"loss": "orpo"}),
    "prefer-dpo-lora": Case("prefer", PAIRS, ".jsonl", PREFERRING | {"lora": "r=4", "learning_rate": 2e-2}),
    "prefer-kto": Case("prefer", PAIRS, ".jsonl", PREFERRING | {"loss": "kto", "learning_rate": 1e-2}),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that nobody has trained."""
    place = tmp_path_factory.mktemp("base") / "model"
    tokenizer = train_tokenizer([LABELLED * 5], vocab_size=300)
    model = build_model(config_for_size("d2", tokenizer.vocab_size, 32, "llama", d_model=32, d_head=16), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():  # its writing matrices begin at zero, through which a head could learn nothing
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    save_model(place, model, tokenizer)
    return place


def tuned(case: Case, base: Path, place: Path, **settings: Any) -> Path:
    """A run of the case; the weights it leaves lie in `model/`."""
    place.mkdir(parents=True, exist_ok=True)
    data = place / f"rows{case.suffix}"
    data.write_text(case.rows, encoding="utf-8")
    fixed = {"precision": "fp32", "threads": 1, "evaluations": 1, "learning_rate": 3e-3, "batch_size": 8, "seed": 3}
    run = finetune(case.method, base, data, out=place / "run", **(fixed | case.settings | settings))
    assert run.outcome == "finished"
    return run.path


def weights(run: Path) -> dict[str, torch.Tensor]:
    """The trained tensors of a run's model folder, a whole model's or an adapter's."""
    adapter = run / "model" / "adapter_model.safetensors"
    if adapter.is_file():
        return read_tensors(adapter)
    return read_tensors(run / "model" / "model.safetensors")


def losses(run: Path, name: str) -> list[float]:
    return [row[name] for row in RunFolder.open(run).read_metrics() if name in row]


@pytest.mark.parametrize("name", CASES)
def test_the_loss_falls_on_a_handful_of_rows(name: str, base: Path, tmp_path: Path):
    run = tuned(CASES[name], base, tmp_path, steps=30)
    curve = losses(run, "train_loss")
    assert len(curve) == 30 and sum(curve[-5:]) < 0.8 * sum(curve[:5]), curve


@pytest.mark.parametrize("name", CASES)
def test_a_step_is_the_same_however_it_is_cut(name: str, base: Path, tmp_path: Path):
    found = [tuned(CASES[name], base, tmp_path / str(n), steps=3, micro_batch_size=n) for n in (1, 8)]
    for first, second in zip(*(losses(run, "train_loss") for run in found), strict=True):
        assert first == pytest.approx(second, rel=1e-5)
    whole, cut = (weights(run) for run in found)
    assert whole.keys() == cut.keys()
    for key, tensor in whole.items():
        torch.testing.assert_close(cut[key], tensor, rtol=1e-3, atol=2e-4, msg=key)


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_was_killed_goes_on_to_the_bit(
    name: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from groundup.training import loop

    whole = tuned(CASES[name], base, tmp_path / "whole", steps=6)
    taken, n_taken = loop.take_step, [0]

    def killed_at_the_fourth(*arguments: Any, **more: Any) -> Any:
        n_taken[0] += 1
        if n_taken[0] == 4:
            raise KeyboardInterrupt
        return taken(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "take_step", killed_at_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            tuned(CASES[name], base, tmp_path / "killed", steps=6, save_every=1e-9)
    killed = tmp_path / "killed" / "run"
    assert resume(killed).outcome == "finished"
    first, second = weights(whole), weights(killed)
    assert all(torch.equal(second[key], tensor) for key, tensor in first.items())
    assert len(losses(killed, "train_loss")) == 6


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.frozen])
def test_what_is_frozen_does_not_move(name: str, base: Path, tmp_path: Path):
    after, before = weights(tuned(CASES[name], base, tmp_path, steps=3)), read_tensors(base / "model.safetensors")
    moved = [key for key in after if key in before and not torch.equal(after[key], before[key])]
    assert not set(moved) & set(CASES[name].frozen)
    assert set(CASES[name].frozen) <= after.keys()
    assert ("model.layers.1.mlp.up_proj.weight" in moved) == (CASES[name].settings["train"] == "last-block")


def test_a_refused_run_leaves_nothing(base: Path, tmp_path: Path):
    from groundup.core.errors import GroundupError

    (tmp_path / "rows.csv").write_text("text,label\na,x\nb,x\n")
    with pytest.raises(GroundupError, match="same label"):
        finetune("classify", base, tmp_path / "rows.csv", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
