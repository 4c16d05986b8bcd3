"""The modules of an adapter: beside a frozen linear map, a narrow path that learns.

`W x + scale B A x` (Hu et al. 2021, "LoRA", section 4.1): A narrows to `rank` numbers, B widens again. B begins at zero,
so the first output is the base's, to the bit. DoRA (Liu et al. 2024, section 4) learns the length of each row of
`W + scale B A` apart from its direction: `g (W x + scale B A x)` with `g = magnitude / length`, where the length is
taken as a constant by the gradient (their section 4.3).

Why it is lean: the frozen product keeps its weight for the backward pass and nothing else (its input would serve the
weight's gradient, which nobody wants); the narrow path keeps its input and `rank` numbers a token.

Shapes: N rows, I inputs, O outputs, R rank; B batch, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.models.layers.int8 import Int8Linear
from groundup.models.layers.nf4 import NF4Linear


@dataclass
class Switch:
    """Which adapters of a model are on; one object, shared by all its adapted layers.

    `active` is the adapter of every row, None: none. `rows`, if any, wins: the rows of the batch by adapter.
    """

    active: str | None = None
    rows: tuple[tuple[str, Tensor], ...] | None = None
    merged: str | None = None  # which adapter the weights hold; then all are off
    names: list[str] = field(default_factory=list)
    # Weights an adapter brought whole, by our names: they are the model's now, and cannot be switched off.
    whole: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Adapted(nn.Module):
    """A layer that adapters go on."""

    base: nn.Module
    adapters: nn.ModuleDict

    def __init__(self, base: nn.Module, switch: Switch) -> None:
        super().__init__()
        self.base, self.switch, self.adapters = base, switch, nn.ModuleDict()
        # The base's weight while another is merged into it; in a list, so that it is no part of the model.
        self.aside: list[nn.Parameter] = []


class AdaptedLinear(Adapted):
    """A frozen linear map, and low-rank paths by name."""

    def forward(self, x: Tensor) -> Tensor:
        out = self.base(x)
        switch = self.switch
        if switch.rows is not None:
            return self._by_row(x, out, switch.rows)
        if switch.active is None or switch.active not in self.adapters:
            return out
        return self.adapters[switch.active](x, out, self.base)

    def _by_row(self, x_BTI: Tensor, out_BTO: Tensor, rows: tuple[tuple[str, Tensor], ...]) -> Tensor:
        for name, places in rows:
            if name in self.adapters:
                adapted = self.adapters[name](x_BTI[places], out_BTO[places], self.base)
                out_BTO = out_BTO.index_copy(0, places, adapted)
        return out_BTO


class LowRank(nn.Module):
    """The narrow path; called with a layer's input and output, gives the adapted output."""

    magnitude: nn.Parameter | None

    def __init__(self, base: nn.Module, rank: int, scale: float, dropout: float, *, dora: bool, rslora: bool) -> None:
        """Made beside `base`, whose device it takes; A is uninitialised, B zero, both fp32 whatever the base is kept in."""
        super().__init__()
        n_out, n_in = linear_shape(base)
        place = device_of(base)
        self.rank, self.scale, self.dropout, self.rslora = rank, scale, dropout, rslora
        self.a = nn.Parameter(torch.empty(rank, n_in, device=place))
        self.b = nn.Parameter(torch.zeros(n_out, rank, device=place))
        self.magnitude = None
        self.squares: Tensor | None
        self.register_buffer("squares", None, persistent=False)
        if dora:
            self.squares = wide_weight(base).square().sum(1)
            self.magnitude = nn.Parameter(self.squares.sqrt())

    def forward(self, x: Tensor, out: Tensor, base: nn.Module) -> Tensor:
        narrow_NR = F.linear(F.dropout(x, self.dropout, self.training), self.a.to(x.dtype)).flatten(0, -2)
        update_RO = (self.b * self.scale).to(x.dtype).T
        if self.magnitude is None:
            return torch.addmm(out.flatten(0, -2), narrow_NR, update_RO).view_as(out)
        # g = 1 + (g - 1), so that the first output is the base's whatever a sum would round.
        gain_O = (self.magnitude / self.lengths(base)).to(torch.float32)
        plain = out - base.bias.to(out.dtype) if isinstance(base.bias, Tensor) else out
        adapted = out + plain * (gain_O - 1).to(x.dtype)
        return adapted + ((narrow_NR @ update_RO) * gain_O.to(x.dtype)).view_as(out)

    def delta(self) -> Tensor:
        """What the path adds to the weight, `scale B A`, [O, I] in fp32; without DoRA's gain."""
        return self.b.detach().float() @ self.a.detach().float() * self.scale

    @torch.no_grad()
    def lengths(self, base: nn.Module) -> Tensor:
        """The length of each row of `W + scale B A`, fp32 [O], without ever making that matrix."""
        assert self.squares is not None
        b_OR, a_RI = self.b.float() * self.scale, self.a.float()
        crossed_OR = wide_weight(base) @ a_RI.T
        cross = 2 * (crossed_OR * b_OR).sum(1) + ((b_OR @ (a_RI @ a_RI.T)) * b_OR).sum(1)
        return (self.squares + cross).clamp_min(0).sqrt()

    def extra_repr(self) -> str:
        return f"rank {self.rank}, scale {self.scale:g}" + (", dora" if self.magnitude is not None else "")


def linear_shape(base: nn.Module) -> tuple[int, int]:
    """(outputs, inputs) of a linear map of any kind."""
    assert isinstance(base, nn.Linear | Int8Linear | NF4Linear), type(base)
    return base.out_features, base.in_features


def device_of(base: nn.Module) -> torch.device:
    """Where a linear map lies."""
    return next(chain(base.parameters(), base.buffers())).device


def wide_weight(base: nn.Module) -> Tensor:
    """The weight [O, I] of a linear map of any kind in fp32, as it computes with it; a copy unless it is kept so."""
    if isinstance(base, Int8Linear | NF4Linear):
        return base.wide()
    weight = base.weight
    assert isinstance(weight, Tensor)
    return weight.detach().float()
