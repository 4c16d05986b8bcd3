"""A document in a packed row is read, and learned from, exactly as if it stood alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from groundup.data.batches import Batch, TrainingBatches
from groundup.data.packing import PackedRows
from groundup.data.store import Shard, TokenSplit, write_shard
from groundup.models import build_model, config_for_size
from groundup.training.objectives import next_token_loss

EOS, CONTEXT = 30, 24
LENGTHS = [5, 11, 2, 60, 1, 8, 17, 3, 23]  # one is longer than two rows


@pytest.fixture
def rows(tmp_path: Path) -> PackedRows:
    draw = np.random.default_rng(0)
    documents = [[*draw.integers(0, 30, n).tolist(), EOS] for n in LENGTHS]
    starts = np.cumsum([0, *map(len, documents)])[:-1].tolist()
    write_shard(tmp_path / "a", [np.concatenate(documents)], np.uint16, starts)
    return PackedRows(TokenSplit("train", [Shard(tmp_path / "a")], 0, EOS), CONTEXT)


@pytest.fixture(params=["qwen3", "gpt2"])
def model(request):
    config = config_for_size("d2", 31, CONTEXT, request.param, d_model=32, n_heads=2)
    return build_model(config, seed=3)


def alone(rows: PackedRows) -> list[tuple[int, int, torch.Tensor, torch.Tensor]]:
    """(row, place in it, inputs, labels) of every piece, made from the text without any packing."""
    stream, found = rows.split.read(0, rows.split.n_tokens).astype(np.int64), []
    for row in range(len(rows)):
        place = 0
        for start, n in rows.pieces(row):
            before = stream[start - 1 : start] if start else np.array([EOS])
            inputs = np.concatenate([before, stream[start : start + n - 1]])
            found.append(
                (row, place, torch.from_numpy(inputs)[None], torch.from_numpy(stream[start : start + n])[None])
            )
            place += n
    return found


def test_the_logits_of_a_document_do_not_know_its_neighbours(rows: PackedRows, model) -> None:
    (batch,) = TrainingBatches(rows, batch_size=len(rows), micro_batch_size=len(rows), seed=0)(0)
    order = TrainingBatches(rows, batch_size=len(rows), micro_batch_size=len(rows), seed=0).row_indices(0)[1].tolist()
    with torch.no_grad():
        packed = model.eval()(batch.tokens_BT, document_ids_BT=batch.document_ids_BT)
        for row, place, inputs, labels in alone(rows):
            mine = packed[order.index(row), place : place + inputs.shape[1]]
            assert batch.labels_BT[order.index(row), place : place + inputs.shape[1]].tolist() == labels[0].tolist()
            torch.testing.assert_close(mine, model(inputs)[0], atol=1e-5, rtol=1e-4)


def test_the_gradient_of_packed_rows_is_the_sum_of_those_of_the_documents(rows: PackedRows, model) -> None:
    batches = TrainingBatches(rows, batch_size=len(rows), micro_batch_size=len(rows), seed=0)(0)
    assert sum(batch.n_targets for batch in batches) == rows.split.n_tokens

    def gradients(each) -> tuple[float, list[torch.Tensor]]:
        model.zero_grad()
        loss = torch.stack([next_token_loss(model, batch) for batch in each]).sum()
        loss.backward()
        return loss.item(), [parameter.grad.clone() for parameter in model.parameters()]

    loss, packed = gradients(batches)
    loss_alone, singly = gradients([Batch(inputs, labels) for _, _, inputs, labels in alone(rows)])
    assert loss == pytest.approx(loss_alone, rel=1e-5)
    for one, other in zip(packed, singly, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3)
