"""The loss of every single token, with gradients, without ever holding all logits.

Preferences weigh whole answers against each other, so unlike `linear_cross_entropy`, which sums while it goes, they need the
log probability of each answer before its gradient is known. Logits are made block by block in the forward pass, let go, and
made once more in the backward pass (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", on the one layer where
it saves most); tokens that are no target are never unembedded at all.

Shapes: N tokens, D d_model, V vocab_size, B rows, T positions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from groundup.models.base import LanguageModel
from groundup.models.layers.softcap import slope, soft_capped
from groundup.training.objectives import IGNORED_LABEL, LOGITS_AT_ONCE


def answer_log_probabilities(
    model: LanguageModel, tokens_BT: Tensor, labels_BT: Tensor, document_ids_BT: Tensor | None = None
) -> Tensor:
    """The summed log probability (nats, fp32) of each row's labels, [B]; -100 counts nothing."""
    hidden_BTD = model.trunk(tokens_BT, document_ids_BT=document_ids_BT)
    counted_BT = labels_BT != IGNORED_LABEL
    losses_N = token_losses(hidden_BTD[counted_BT], model.head_weight, labels_BT[counted_BT], model.logit_softcap)
    rows_N = counted_BT.nonzero()[:, 0]
    return losses_N.new_zeros(len(labels_BT)).index_add(0, rows_N, -losses_N)


def token_losses(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    labels_N: Tensor,
    softcap: float | None = None,
    logits_at_once: int = LOGITS_AT_ONCE,
) -> Tensor:
    """`cross_entropy(hidden @ weight.T, labels, reduction="none")` in fp32, [N].

    Matrix products run in the dtype of `hidden_ND`; the softmax and the bend of a `softcap` in fp32.
    """
    n_rows = max(1, logits_at_once // weight_VD.shape[0])
    return _TokenLosses.apply(hidden_ND, weight_VD, labels_N, softcap, n_rows)  # pyright: ignore[reportReturnType]


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, softcap: float | None, n_rows: int
    ) -> Tensor:
        ctx.save_for_backward(hidden_ND, weight_VD, labels_N)
        ctx.softcap, ctx.n_rows = softcap, n_rows
        weight = weight_VD.to(hidden_ND.dtype)
        losses = [
            F.cross_entropy(_bent(hidden @ weight.T, softcap), labels, reduction="none")
            for hidden, labels in zip(hidden_ND.split(n_rows), labels_N.split(n_rows), strict=True)
        ]
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_VD, labels_N = ctx.saved_tensors
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        weight = weight_VD.to(hidden_ND.dtype)
        hidden_gradient = torch.empty_like(hidden_ND) if needs_hidden else None
        weight_gradient = torch.zeros_like(weight_VD) if needs_weight else None
        for begin in range(0, len(hidden_ND), ctx.n_rows):
            here = slice(begin, begin + ctx.n_rows)
            hidden, labels, scale = hidden_ND[here], labels_N[here, None], grad_outputs[0][here, None]
            bent = _bent(hidden @ weight.T, ctx.softcap)
            gradient = bent.softmax(dim=1)
            gradient.scatter_add_(1, labels, gradient.new_full(labels.shape, -1.0)).mul_(scale)
            if ctx.softcap is not None:
                gradient.mul_(slope(bent, ctx.softcap))
            gradient = gradient.to(hidden.dtype)
            if hidden_gradient is not None:
                hidden_gradient[here] = gradient @ weight
            if weight_gradient is not None:
                weight_gradient += (gradient.T @ hidden).to(weight_gradient.dtype)
        return hidden_gradient, weight_gradient, None, None, None


def _bent(logits: Tensor, softcap: float | None) -> Tensor:
    return logits.float() if softcap is None else soft_capped(logits.float(), softcap)
