"""The part of a block that works on each token alone: widen, bend, narrow again.

`FeedForward` is the original form; it bends by GELU (Hendrycks and Gimpel 2016), exact or in GPT-2's tanh approximation,
or by the squared ReLU (So et al. 2021, "Primer"). `Gated` (Shazeer 2020, section 2) multiplies two widenings,
one of them bent: by SiLU it is SwiGLU, by GELU GeGLU. With three matrices instead of two, a width of 8/3 d_model instead
of 4 keeps the number of parameters. `FusedSwiGLU` keeps two of the three as one matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.models.layers.linear import Linear

GELU_SLOPE = 2 * math.sqrt(2 / math.pi)  # Hendrycks and Gimpel 2016, section 2, doubled for the sigmoid


def gelu(x: Tensor) -> Tensor:
    """GELU in its tanh approximation; keeps shape and dtype.

    0.5 (1 + tanh u) is sigmoid(2 u): the compiler's sigmoid is 2.5 times as fast as its tanh, forward and backward.
    """
    if not torch.compiler.is_compiling():
        return F.gelu(x, approximate="tanh")
    wide = x.float()
    return (wide * torch.sigmoid(wide * (GELU_SLOPE + GELU_SLOPE * 0.044715 * wide * wide))).to(x.dtype)


def exact_gelu(x: Tensor) -> Tensor:
    """GELU as it is defined, x times the chance that a normal number is below x; keeps shape and dtype."""
    return F.gelu(x)


def relu_squared(x: Tensor) -> Tensor:
    """The square of what is positive, 0 elsewhere; keeps shape and dtype."""
    return F.relu(x).square()


class FeedForward(nn.Module):
    """`down(bend(up(x)))`; keeps shape [..., d_model] and dtype."""

    def __init__(self, d_model: int, d_ff: int, bend: Callable[[Tensor], Tensor] = gelu, *, bias: bool = True) -> None:
        super().__init__()
        self.bend = bend
        self.up = Linear(d_model, d_ff, bias)
        self.down = Linear(d_ff, d_model, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.bend(self.up(x)))


class Gated(nn.Module):
    """`down(bend(gate(x)) * up(x))`; keeps shape [..., d_model] and dtype."""

    def __init__(self, d_model: int, d_ff: int, bend: Callable[[Tensor], Tensor], *, bias: bool = False) -> None:
        super().__init__()
        self.bend = bend
        self.gate = Linear(d_model, d_ff, bias)
        self.up = Linear(d_model, d_ff, bias)
        self.down = Linear(d_ff, d_model, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.bend(self.gate(x)) * self.up(x))


class SwiGLU(Gated):
    """`Gated` by SiLU, the feed-forward of the Llama family."""

    def __init__(self, d_model: int, d_ff: int, *, bias: bool = False) -> None:
        super().__init__(d_model, d_ff, F.silu, bias=bias)


class FusedSwiGLU(nn.Module):
    """`SwiGLU` with one matrix for gate and up, the gate's rows first; keeps shape [..., d_model] and dtype."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.gate_up = Linear(d_model, 2 * d_ff)
        self.down = Linear(d_ff, d_model)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)
