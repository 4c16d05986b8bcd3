"""Recurrent layers against torch's own, against themselves step by step, and documents against documents apart."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from groundup.models.layers.position import document_positions
from groundup.models.layers.recurrent import CELLS, Recurrent, document_batches

TORCH = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def made(kind: str, d_input: int = 5, d_hidden: int = 7) -> Recurrent:
    layer = Recurrent(kind, 0, d_input, d_hidden)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return layer


def some_input(n_rows: int = 3, length: int = 11, width: int = 5) -> Tensor:
    return torch.randn(n_rows, length, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", CELLS)
@torch.no_grad()
def test_torchs_weights_fit_and_mean_the_same(kind: str) -> None:
    torch.manual_seed(0)
    theirs, ours, x = TORCH[kind](5, 7, batch_first=True), made(kind), some_input()
    for parameter, weight in zip(ours.weights, theirs.all_weights[0], strict=True):
        assert parameter.shape == weight.shape
        parameter.copy_(weight)
    for run in (ours.run, ours.run_reference):
        out, end = run(x)
        expected, their_end = theirs(x)
        torch.testing.assert_close(out, expected)
        for part, their_part in zip(end, their_end if kind == "lstm" else (their_end,), strict=True):
            torch.testing.assert_close(part, their_part[0])


@pytest.mark.parametrize("kind", CELLS)
def test_the_kernel_equals_the_steps_forward_and_backward(kind: str) -> None:
    layer, results = made(kind), []
    for run in (layer.run, layer.run_reference):
        layer.zero_grad()
        x = some_input().requires_grad_()
        start = tuple(0.3 * torch.ones(3, 7) * (i + 1) for i in range(len(CELLS[kind].memories)))
        out, end = run(x, start)
        (out.square().sum() + sum(part.sum() for part in end)).backward()
        results.append([out, *end, x.grad, *(p.grad.clone() for p in layer.parameters())])
    for fast, plain in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


def test_an_lstm_step_by_hand() -> None:
    layer = Recurrent("lstm", 0, 1, 1)
    with torch.no_grad():
        layer.input_weight.copy_(torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
        layer.memory_weight.copy_(torch.tensor([[0.5], [0.25], [-1.0], [1.0]]))
        layer.input_bias.zero_()
        layer.memory_bias.zero_()
        _, (hidden, cell) = layer.run(torch.tensor([[[0.5]]]), (torch.tensor([[0.2]]), torch.tensor([[0.4]])))
    take, keep, new, show = torch.sigmoid(torch.tensor([0.6, 1.05, 0.0, 2.2]))
    new = torch.tanh(torch.tensor(1.3))
    torch.testing.assert_close(cell[0, 0], keep * 0.4 + take * new)
    torch.testing.assert_close(hidden[0, 0], show * torch.tanh(keep * 0.4 + take * new))


@pytest.mark.parametrize("kind", CELLS)
def test_a_new_layer_remembers(kind: str) -> None:
    layer = Recurrent(kind, 0, 16, 32)
    layer.initialize(torch.Generator().manual_seed(0))
    for gate in layer.memory_weight.split(32):
        torch.testing.assert_close(gate @ gate.T, torch.eye(32), rtol=0, atol=1e-5)
    assert layer.input_weight.std().item() == pytest.approx(0.25, rel=0.1)
    assert layer.memory_bias.abs().max() == 0
    assert layer.input_bias.sum() == (0 if kind == "rnn" else 32)
    if kind == "lstm":
        assert layer.input_bias[32:64].min() == 1, "the gates come in the order i, f, g, o"


def test_documents_lie_in_batches_of_like_length() -> None:
    ids = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2], [0, 1, 1, 1, 1, 1, 1, 1]])
    found: list[list[int]] = []
    for places, real in document_batches(document_positions(ids)):
        assert real.float().mean() > 0.5, "less than half of a batch is filling"
        found += [row[kept].tolist() for row, kept in zip(places, real, strict=True)]
    expected = [[0, 1, 2], [3, 4, 5, 6], [7], [8], list(range(9, 16))]
    assert sorted(found) == expected
