"""Conversations packed into rows teach exactly what they teach one by one, and alone with padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from groundup.data.batches import Batch, EvaluationBatches
from groundup.data.examples import Examples, PackedExamples, writing_examples
from groundup.data.windows import IGNORED_LABEL
from groundup.models import build_model, config_for_size
from groundup.training.objectives import next_token_loss

VOCAB, CONTEXT = 31, 24
LENGTHS = [5, 12, 2, 25, 8, 17, 3, 23, 9]


@pytest.fixture
def examples(tmp_path: Path) -> Examples:
    draw = np.random.default_rng(0)
    # Empty room is filled with id 7, which is an ordinary token of the examples and learned there too.
    with writing_examples(tmp_path / "examples", {"key": "", "fill_id": 7}) as writer:
        for n in LENGTHS:
            trained = draw.random(n) < 0.5
            trained[-1] = True
            writer.add(draw.integers(0, 10, n).tolist(), trained.tolist())
    return Examples.open(tmp_path / "examples")


@pytest.fixture(params=["qwen3", "gpt2", "lstm", "mamba"])
def model(request):
    return build_model(config_for_size("d2", VOCAB, CONTEXT, request.param, d_model=32, n_layers=2), seed=3)


def loss_and_gradient(model, batches: list[Batch]) -> tuple[float, list[torch.Tensor]]:
    model.zero_grad()
    loss = torch.stack([next_token_loss(model, batch) for batch in batches]).sum()
    loss.backward()
    return loss.item(), [parameter.grad.clone() for parameter in model.parameters()]


def test_packed_padded_and_one_by_one(examples: Examples, model) -> None:
    alone = []
    for n in range(len(examples)):
        ids, trained = (torch.from_numpy(part.astype(np.int64))[None] for part in examples.example(n))
        alone.append(Batch(ids[:, :-1], torch.where(trained[:, 1:] == 1, ids[:, 1:], IGNORED_LABEL)))
    loss, singly = loss_and_gradient(model, alone)
    assert sum(batch.n_targets for batch in alone) == examples.manifest["n_trained"]
    for packing in ("best-fit", "none"):
        rows = PackedExamples(examples, CONTEXT, packing)
        batches = list(EvaluationBatches(rows, 2))
        assert sum(batch.n_targets for batch in batches) == examples.manifest["n_trained"]
        assert len(rows) == (4 if packing == "best-fit" else len(LENGTHS))
        other_loss, gradients = loss_and_gradient(model, batches)
        assert other_loss == pytest.approx(loss, rel=1e-5)
        for one, other in zip(gradients, singly, strict=True):
            torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3)
