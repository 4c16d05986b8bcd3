"""A linear map whose weights stay in full precision while it computes in the precision of its input.

Optimizers need fp32 weights: a bf16 number has 8 bits of mantissa, and an update below 1/256 of a weight would vanish
(Micikevicius et al. 2018, "Mixed Precision Training", section 3.1). Casting here, instead of `torch.autocast` around
everything, leaves no hidden rule about which operation runs in which dtype. When the weights already have the input's
dtype, as after `model.to(torch.bfloat16)`, the cast costs nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """`x @ weight.T + bias` in the dtype of x; weight is [out, in]; made uninitialised, the model fills it."""

    def __init__(self, n_in: int, n_out: int, bias: bool = False) -> None:
        super().__init__(n_in, n_out, bias=bias)

    def reset_parameters(self) -> None:
        """Do nothing: `LanguageModel.initialize` or a checkpoint decides every value."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias`, weight [out, in] and bias [out] cast to the dtype of x."""
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def fill_normal(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    """Fill in place with normal numbers; drawn on the CPU, so that a seed means the same weights on any device."""
    with torch.no_grad():
        parameter.copy_(torch.empty(parameter.shape).normal_(0.0, std, generator=generator))
