"""Normalisation of each token's vector, so that layers see inputs of one scale however deep the model is.

LayerNorm (Ba et al. 2016, section 3) subtracts the mean and divides by the standard deviation. RMSNorm (Zhang and
Sennrich 2019, section 3) drops the mean: as good in practice and cheaper. Statistics are always taken in fp32: a sum
of squares over hundreds of bf16 numbers loses the small ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """`x / sqrt(mean(x^2) + eps) * weight` over the last axis; keeps shape and dtype.

    `offset` is added to the weight: 1 in the Gemma family, whose files store the distance of each gain from one.
    """

    def __init__(self, width: int, eps: float, offset: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        gain = self.weight.float() + self.offset if self.offset else self.weight.float()
        return F.rms_norm(x.float(), self.weight.shape, gain, self.eps).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"


class GatedRMSNorm(RMSNorm):
    """RMSNorm of `x * silu(gate)`, each group of channels by itself; gives the dtype of the gate.

    So that a scan's output has one scale whatever it remembered (Dao and Gu 2024, "Transformers are SSMs", section 7.1);
    groups, so that they can be computed apart.
    """

    def __init__(self, width: int, n_groups: int, eps: float) -> None:
        super().__init__(width, eps)
        self.n_groups = n_groups

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        groups = (x.float() * F.silu(gate.float())).unflatten(-1, (self.n_groups, -1))
        normalised = F.rms_norm(groups, groups.shape[-1:], eps=self.eps).flatten(-2)
        return (normalised * self.weight.float()).to(gate.dtype)


class LayerNorm(nn.Module):
    """`(x - mean) / sqrt(variance + eps) * weight + bias` over the last axis; keeps shape and dtype."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.float(), self.bias.float()
        return F.layer_norm(x.float(), self.weight.shape, weight, bias, self.eps).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"


def set_gain(module: nn.Module, gain: float) -> None:
    """Let a norm begin with `gain` everywhere and no bias; anything else stays as it is."""
    if isinstance(module, RMSNorm):
        nn.init.constant_(module.weight, gain - module.offset)
    elif isinstance(module, LayerNorm):
        nn.init.constant_(module.weight, gain)
        nn.init.zeros_(module.bias)
