"""A mixture of experts: many feed-forward layers, of which each token goes through the few that a router picks for it.

So a model can hold many times more than it computes with for a token (Shazeer et al. 2017, section 2). The router's
softmax runs over all experts; the `n_active` likeliest are taken, and their outputs summed by their probabilities, which
are `renormalized` to sum to one (Jiang et al. 2024, "Mixtral of Experts", section 2.1) or not.

Left alone, a router finds a few favourites, and the others never learn. Therefore the balance loss of Fedus et al. 2021,
"Switch Transformers", equations 4 to 6: E times the sum, over the E experts, of the share of tokens each was given times
its mean probability. It is least, `n_active`, when all are used alike.

`Experts.forward` sorts the tokens by expert, so that each expert's weights are read once, for all its tokens;
`Experts.reference` sends every token through every expert, and is what it is tested against.

Shapes: N tokens, D d_model, F d_expert, E experts, K experts a token (n_active), M = N K rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.models.layers.grouped_product import grouped_product
from groundup.models.layers.linear import Linear, linear

if TYPE_CHECKING:
    from groundup.models.base import Reading


class Experts(nn.Module):
    """SwiGLU layers as stacks of matrices, and their router; keeps shape [B, T, D] and dtype."""

    def __init__(
        self, d_model: int, d_expert: int, n_experts: int, n_active: int, *, renormalized: bool, balance: float
    ) -> None:
        """`balance` is the weight of the balance loss, which a forward pass in training leaves with its `Reading`."""
        super().__init__()
        self.n_active, self.renormalized, self.balance = n_active, renormalized, balance
        self.router = Linear(d_model, n_experts)
        self.gate = nn.Parameter(torch.empty(n_experts, d_expert, d_model))
        self.up = nn.Parameter(torch.empty(n_experts, d_expert, d_model))
        self.down = nn.Parameter(torch.empty(n_experts, d_model, d_expert))

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        x_ND = x_BTD.flatten(0, 1)
        probabilities_NE, shares_NK, chosen_NK = self.route(x_ND)
        order_M = chosen_NK.flatten().argsort(stable=True)
        ends_E = torch.searchsorted(
            chosen_NK.flatten().index_select(0, order_M),
            torch.arange(self.gate.shape[0], device=x_ND.device),
            right=True,
            out_int32=True,
        )
        if self.training and self.balance:
            reading.penalties.append(self.balance * imbalance(probabilities_NE, ends_E))
        out_ND = self.run(x_ND, shares_NK, order_M, ends_E)
        return out_ND.view_as(x_BTD)

    def route(self, x_ND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities [N, E] of all experts (fp32), and shares and ids [N, K] of those chosen."""
        # In fp32: what rounding does to scores, the softmax multiplies (Fedus et al. 2021, section 2.4).
        probabilities_NE = self.router(x_ND.float()).softmax(dim=-1)
        chosen_NK = self.choose(probabilities_NE)
        shares_NK = probabilities_NE.gather(1, chosen_NK)
        if self.renormalized:
            shares_NK = shares_NK / shares_NK.sum(dim=-1, keepdim=True)
        return probabilities_NE, shares_NK.to(x_ND.dtype), chosen_NK

    def choose(self, probabilities_NE: Tensor) -> Tensor:
        """The ids [N, K] of each token's likeliest experts."""
        return probabilities_NE.topk(self.n_active, dim=-1).indices

    def run(self, x_ND: Tensor, shares_NK: Tensor, order_M: Tensor, ends_E: Tensor) -> Tensor:
        """The chosen experts' outputs, weighed and summed; rows (token, choice) go through them in `order_M`."""
        back_M = torch.empty_like(order_M).scatter_(0, order_M, torch.arange(len(order_M), device=x_ND.device))
        rows_MD = _Rearranged.apply(x_ND[:, None].expand(-1, self.n_active, -1).flatten(0, 1), order_M, back_M)
        gate_EFD, up_EFD, down_EDF = (stack.to(x_ND.dtype) for stack in (self.gate, self.up, self.down))
        hidden_MF = F.silu(grouped_product(rows_MD, gate_EFD, ends_E)) * grouped_product(rows_MD, up_EFD, ends_E)
        out_MD = _Rearranged.apply(grouped_product(hidden_MF, down_EDF, ends_E), back_M, order_M)
        return (out_MD.unflatten(0, (-1, self.n_active)) * shares_NK[..., None]).sum(1)

    def reference(self, x_BTD: Tensor) -> Tensor:
        """The same as `forward`, every expert on every token and all but the chosen ones weighed with zero."""
        x_ND = x_BTD.flatten(0, 1)
        probabilities_NE, shares_NK, chosen_NK = self.route(x_ND)
        shares_NE = torch.zeros_like(probabilities_NE, dtype=x_ND.dtype).scatter(1, chosen_NK, shares_NK)
        out_ND = torch.zeros_like(x_ND)
        for share_N, gate_FD, up_FD, down_DF in zip(shares_NE.T, self.gate, self.up, self.down, strict=True):
            hidden_NF = F.silu(linear(x_ND, gate_FD)) * linear(x_ND, up_FD)
            out_ND = out_ND + share_N[:, None] * linear(hidden_NF, down_DF)
        return out_ND.view_as(x_BTD)


def imbalance(probabilities_NE: Tensor, ends_E: Tensor) -> Tensor:
    """The balance loss (see the top of the file): `n_active` when all experts are used alike, more otherwise.

    `ends_E` counts the tokens given to the experts up to each. Only the probabilities have a gradient.
    """
    n_tokens, n_experts = probabilities_NE.shape
    given_E = ends_E.diff(prepend=ends_E.new_zeros(1)) / n_tokens
    return n_experts * (given_E * probabilities_NE.mean(0)).sum()


class _Rearranged(torch.autograd.Function):
    """Rows in a new order. The gradient goes back by the inverse order; autograd's own would add up row by row."""

    @staticmethod
    def forward(ctx: Any, rows_MD: Tensor, order_M: Tensor, back_M: Tensor) -> Tensor:
        ctx.save_for_backward(back_M)
        return rows_MD.index_select(0, order_M)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        return grad_outputs[0].index_select(0, ctx.saved_tensors[0]), None, None
