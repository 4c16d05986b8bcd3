"""What a model is trained to make small: functions of (model, batch) that give the *sum* of the losses of its targets.

The one idea of the cross-entropy here: logits are by far the largest tensor of a small model (rows x 50,000 in fp32,
and their gradient again), and nobody needs them afterwards. So the head runs on a block of rows at a time, and the
gradient, softmax minus one-hot, is made at once, while the block is in cache, in the forward pass. Nothing is kept
but the gradients of the hidden vectors and of the head. Source of the trick: Wijmans et al. 2024, "Cut Your Losses",
section 3; and Liger Kernel (Hsu et al. 2024), section 3.2, "FusedLinearCrossEntropy".

Shapes: N rows (batch x time), D d_model, V vocab_size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.models.layers.softcap import slope, soft_capped

if TYPE_CHECKING:
    from groundup.data.batches import Batch
    from groundup.models.base import LanguageModel, Roles


class TrainedModel(Protocol):
    """What is trained: a `LanguageModel`, or one with another head."""

    @property
    def compute_dtype(self) -> torch.dtype: ...
    @compute_dtype.setter
    def compute_dtype(self, dtype: torch.dtype, /) -> None: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...
    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...
    def parameter_roles(self) -> Roles: ...
    def train(self) -> Any: ...


class TrainingBatch(Protocol):
    """What is trained on at once: windows of text, labelled texts, pairs of answers."""

    @property
    def tokens_BT(self) -> Tensor: ...
    @property
    def n_targets(self) -> int: ...  # what the objective's sum of losses is divided by, counted over the whole step
    def to(self, device: torch.device) -> TrainingBatch: ...


Objective = Callable[[Any, Any], Tensor]  # (model, batch) -> the sum of the losses of the batch's targets
IGNORED_LABEL = -100
LOGITS_AT_ONCE = 1 << 25  # 128 MiB in fp32; each block also adds once into the head's gradient, so not too small
# Nothing is added there, so blocks may be small: 0.24 of 1.51 GB less at 124M parameters and 4 x 256 tokens.
LOGITS_BESIDE_A_FROZEN_HEAD = 1 << 23


def next_token_loss(model: LanguageModel, batch: Batch) -> Tensor:
    """The summed negative log likelihood (nats, fp32) of the batch's labels, each read with what comes before it.

    What the model asks for besides (see `LanguageModel.trunk_and_penalty`) adds its gradient and not its value, so that
    losses are nats of the text whatever the model.
    """
    hidden_BTD, penalty = model.trunk_and_penalty(batch.tokens_BT, document_ids_BT=batch.document_ids_BT)
    labels_N = batch.labels_BT.flatten()
    loss = linear_cross_entropy(hidden_BTD.flatten(0, 1), model.head_weight, labels_N, softcap=model.logit_softcap)
    if penalty is None:
        return loss
    n_targets = (labels_N != IGNORED_LABEL).sum()  # a sum, which the loop divides by the targets of the whole step
    return loss + n_targets * (penalty - penalty.detach())


def linear_cross_entropy(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    labels_N: Tensor,
    logits_at_once: int = LOGITS_AT_ONCE,
    softcap: float | None = None,
) -> Tensor:
    """`cross_entropy(hidden @ weight.T, labels, reduction="sum")` in fp32, without ever holding all logits.

    Matrix products run in the dtype of `hidden_ND`; the softmax, the bend of a `softcap` (layers/softcap.py) and all
    sums in fp32. Labels of -100 count nothing.
    """
    if not weight_VD.requires_grad:
        logits_at_once = min(logits_at_once, LOGITS_BESIDE_A_FROZEN_HEAD)
    n_blocks = -(-hidden_ND.shape[0] * weight_VD.shape[0] // logits_at_once)
    n_rows = max(1, -(-hidden_ND.shape[0] // max(1, n_blocks)))  # blocks of one size: each shape is a kernel to compile
    if torch.is_grad_enabled() and (hidden_ND.requires_grad or weight_VD.requires_grad):
        return _LinearCrossEntropy.apply(hidden_ND, weight_VD, labels_N, n_rows, softcap)
    weight = weight_VD.to(hidden_ND.dtype)
    losses = [
        F.cross_entropy(_bent(hidden @ weight.T, softcap).float(), labels, ignore_index=IGNORED_LABEL, reduction="sum")
        for hidden, labels in zip(hidden_ND.split(n_rows), labels_N.split(n_rows), strict=True)
    ]
    return torch.stack(losses).sum()


class _LinearCrossEntropy(torch.autograd.Function):
    """The same with gradients, which the forward pass makes block by block; the backward pass only scales them."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, labels_N: Tensor, n_rows: int, softcap: float | None
    ) -> Tensor:
        weight = weight_VD.to(hidden_ND.dtype)
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        hidden_gradients, logits_gradients, weight_gradient = [], [], None
        # The compiler puts the sum over blocks off to the end of the backward pass and holds all their products, [D, V]
        # each, until then. Where that is more than the gradients of all logits, one product over these is leaner.
        n_blocks = -(-hidden_ND.shape[0] // n_rows)
        in_one = torch.compiler.is_compiling() and n_blocks * hidden_ND.shape[1] > hidden_ND.shape[0]
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        for hidden, labels in zip(hidden_ND.split(n_rows), labels_N.split(n_rows), strict=True):
            loss, logits_gradient = _loss_and_gradient(hidden @ weight.T, labels, softcap)
            total = total + loss
            if needs_hidden:
                hidden_gradients.append(logits_gradient @ weight)
            if needs_weight and in_one:
                logits_gradients.append(logits_gradient)
            elif needs_weight:
                # As [D, V]: with the long side last this product is 1.5 times as fast as its transpose.
                part = (hidden.T @ logits_gradient).to(weight_VD.dtype)
                weight_gradient = part if weight_gradient is None else weight_gradient.add_(part)
        if logits_gradients:
            weight_gradient = hidden_ND.T @ torch.cat(logits_gradients)
        # Kept through the whole backward pass, so in half the bytes: the products it sums were rounded to them already.
        kept = None if weight_gradient is None else weight_gradient.to(hidden_ND.dtype)
        ctx.save_for_backward(torch.cat(hidden_gradients) if needs_hidden else None, kept)
        ctx.weight_dtype = weight_VD.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        scale, (hidden, weight) = grad_outputs[0], ctx.saved_tensors
        return (
            None if hidden is None else _scaled(hidden, scale, hidden.dtype),
            None if weight is None else _scaled(weight.T, scale, ctx.weight_dtype).contiguous(),
            None,
            None,
            None,
        )


def _scaled(gradient: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The product rounded once. A scale of 1 / (targets of the step) in bf16 would be up to 0.4 % off."""
    return (gradient.float() * scale).to(dtype)


def _loss_and_gradient(logits_NV: Tensor, labels_N: Tensor, softcap: float | None) -> tuple[Tensor, Tensor]:
    """Summed loss (fp32) of a block of rows, and its gradient by the logits before their bend, in their dtype."""
    counted_N1 = (labels_N != IGNORED_LABEL)[:, None]
    labels_N1 = labels_N.clamp(min=0)[:, None]  # an ignored label still has to be a place to read
    bent_NV = _bent(logits_NV, softcap)
    log_probabilities_NV = F.log_softmax(bent_NV, dim=1, dtype=torch.float32)
    loss = -(log_probabilities_NV.gather(1, labels_N1) * counted_N1).sum()
    gradient = log_probabilities_NV.exp_()  # in place: uncompiled, every copy of a block is a trip to main memory
    gradient.scatter_add_(1, labels_N1, gradient.new_full(labels_N1.shape, -1.0)).mul_(counted_N1)
    if softcap is not None:
        gradient.mul_(slope(bent_NV, softcap))
    return loss, gradient.to(logits_NV.dtype)


def _bent(logits: Tensor, softcap: float | None) -> Tensor:
    return logits if softcap is None else soft_capped(logits.float(), softcap)
