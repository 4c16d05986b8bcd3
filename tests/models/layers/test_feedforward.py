"""Each kind of feed-forward layer bends as its paper says."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from groundup.models.layers.feedforward import FeedForward, Gated, SwiGLU, exact_gelu, gelu, relu_squared

X = torch.linspace(-4, 4, 33)


def test_bends_at_one_and_minus_one() -> None:
    ones = torch.tensor([1.0, -1.0])
    above = 0.5 * (1 + math.erf(2**-0.5))  # the chance that a normal number is below 1
    assert exact_gelu(ones).tolist() == pytest.approx([above, above - 1], abs=1e-6)
    inner = math.tanh((2 / math.pi) ** 0.5 * 1.044715)
    assert gelu(ones).tolist() == pytest.approx([0.5 * (1 + inner), -0.5 * (1 - inner)], abs=1e-6)
    assert relu_squared(torch.tensor([3.0, -3.0])).tolist() == [9.0, 0.0]
    assert 1e-4 < (exact_gelu(X) - gelu(X)).abs().max() < 1e-3, "near, and not the same"


def filled(layer: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    return layer


@pytest.mark.parametrize("bend", [exact_gelu, gelu, relu_squared])
@pytest.mark.parametrize("bias", [True, False])
def test_two_matrices(bend, bias) -> None:
    layer, x = filled(FeedForward(5, 7, bend, bias=bias)), torch.randn(3, 5)
    up, down = layer.up, layer.down
    assert (up.bias is not None, down.bias is not None) == (bias, bias)
    inner = x @ up.weight.T + (up.bias if bias else 0)
    torch.testing.assert_close(layer(x), bend(inner) @ down.weight.T + (down.bias if bias else 0))


def test_gates() -> None:
    x = torch.randn(3, 5)
    for layer, bend in (
        (SwiGLU(5, 7), lambda x: x * torch.sigmoid(x)),
        (Gated(5, 7, exact_gelu), F.gelu),
        (Gated(5, 7, gelu), gelu),
    ):
        filled(layer)
        inner = bend(x @ layer.gate.weight.T) * (x @ layer.up.weight.T)
        torch.testing.assert_close(layer(x), inner @ layer.down.weight.T)
