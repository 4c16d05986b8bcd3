"""Linear maps and embeddings: the input's dtype decides, the weights keep theirs."""

from __future__ import annotations

import torch

from groundup.models.layers.embedding import Embedding
from groundup.models.layers.feedforward import FeedForward, SwiGLU
from groundup.models.layers.linear import Linear, fill_normal


def test_linear_by_hand_in_both_precisions() -> None:
    layer = Linear(2, 1, bias=True)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 3.0]]))
        layer.bias.copy_(torch.tensor([0.5]))
    for dtype in (torch.float32, torch.bfloat16):
        out = layer(torch.tensor([10.0, 1.0], dtype=dtype))
        assert out.dtype == dtype
        assert out.item() == 23.5
        out.backward()
        assert layer.weight.grad is not None
        assert layer.weight.grad.dtype == torch.float32


def test_a_small_update_survives_in_the_masters() -> None:
    """1 + 1/1024 rounds to 1 in bf16; the master keeps it, which is why the cast is made anew each time."""
    layer = Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(1.0).add_(1 / 1024)
    assert layer(torch.ones(1, dtype=torch.bfloat16)).item() == 1.0
    assert layer.weight.item() == 1 + 1 / 1024


def test_layers_are_made_without_filling_them() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    Linear(3, 4, bias=True), Embedding(5, 6), SwiGLU(4, 8), FeedForward(4, 8)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_fill_normal_has_the_spread_asked_for() -> None:
    parameter = torch.empty(300, 300)
    fill_normal(parameter, 0.05, torch.Generator().manual_seed(0))
    assert abs(float(parameter.std()) - 0.05) < 0.001
    assert abs(float(parameter.mean())) < 0.001


def test_feed_forwards_by_hand() -> None:
    """Width 1, all weights 1: gelu(2) in the tanh form is 1.954598, silu(2) x 2 is 3.523188."""
    for layer, expected in ((FeedForward(1, 1), 1.954598), (SwiGLU(1, 1), 3.523188)):
        with torch.no_grad():
            for name, parameter in layer.named_parameters():
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        assert abs(layer(torch.tensor([2.0])).item() - expected) < 1e-6
