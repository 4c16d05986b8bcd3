"""Norms against their formulas, by hand and in half precision."""

from __future__ import annotations

import torch

from groundup.models.layers.norm import LayerNorm, RMSNorm


def test_rms_norm_by_hand() -> None:
    norm = RMSNorm(2, eps=0.0)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(norm(torch.tensor([3.0, 4.0])), torch.tensor([3.0, 8.0]) / 12.5**0.5)


def test_layer_norm_by_hand() -> None:
    norm = LayerNorm(3, eps=0.5)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 1.0, 2.0]))
        norm.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    root = (2 / 3 + 0.5) ** 0.5
    torch.testing.assert_close(norm(torch.tensor([1.0, 2.0, 3.0])), torch.tensor([-1 / root, 1.0, 2 / root]))


def test_eps_keeps_zeros_finite() -> None:
    assert RMSNorm(4, 1e-6)(torch.zeros(4)).tolist() == [0.0] * 4
    assert LayerNorm(4, 1e-5)(torch.zeros(4)).tolist() == [0.0] * 4


def test_statistics_are_taken_in_fp32() -> None:
    """4,096 numbers near 100: summed up in bf16, their mean would be off by far more than they differ."""
    torch.manual_seed(0)
    x = (100 + torch.randn(4096)).bfloat16()
    for norm in (RMSNorm(4096, 1e-6), LayerNorm(4096, 1e-5)):
        out = norm(x)
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out, norm(x.float()).bfloat16(), atol=0, rtol=0)
        norm.bfloat16()
        torch.testing.assert_close(norm(x), out, atol=0, rtol=0)
