"""Many matrix products at once: rows sorted by group, each group times a matrix of its own.

How many rows a group has is only known when the model runs, so the compiler cannot see through the loop over groups; as an
operator of its own it need not. On CUDA in bf16 torch's grouped kernel does all groups in one launch; elsewhere one
product a group is as fast, and knows every dtype and size, where that kernel wants rows of whole 16 bytes.

Shapes: M rows, E groups, I numbers in, O numbers out; `ends_E` (int32) are the rows at which the groups end.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula


@torch.library.custom_op("groundup::grouped_product", mutates_args=())
def grouped_product(x_MI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """[M, O]: each row times the transpose of its group's matrix."""
    if _kernel_fits(x_MI, weight_EOI):
        return F.grouped_mm(x_MI, weight_EOI.mT, offs=ends_E)
    out_MO = x_MI.new_empty(x_MI.shape[0], weight_EOI.shape[1])
    for group, start, stop in _groups(ends_E):
        torch.mm(x_MI[start:stop], weight_EOI[group].T, out=out_MO[start:stop])
    return out_MO


@torch.library.custom_op("groundup::grouped_outer_product", mutates_args=())
def grouped_outer_product(y_MO: Tensor, x_MI: Tensor, ends_E: Tensor) -> Tensor:
    """[E, O, I]: the sum of the outer products of each group's rows, zero for a group without rows."""
    if _kernel_fits(y_MO, x_MI):
        return F.grouped_mm(y_MO.T, x_MI, offs=ends_E)
    out_EOI = x_MI.new_zeros(ends_E.shape[0], y_MO.shape[1], x_MI.shape[1])
    for group, start, stop in _groups(ends_E):
        torch.mm(y_MO[start:stop].T, x_MI[start:stop], out=out_EOI[group])
    return out_EOI


@grouped_product.register_fake
def _(x_MI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    return x_MI.new_empty(x_MI.shape[0], weight_EOI.shape[1])


@grouped_outer_product.register_fake
def _(y_MO: Tensor, x_MI: Tensor, ends_E: Tensor) -> Tensor:
    return x_MI.new_empty(ends_E.shape[0], y_MO.shape[1], x_MI.shape[1])


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, d_out_MO: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    x_MI, weight_EOI, ends_E = ctx.saved_tensors
    d_out_MO = d_out_MO.contiguous()
    d_x = grouped_product(d_out_MO, weight_EOI.mT, ends_E) if ctx.needs_input_grad[0] else None
    d_weight = grouped_outer_product(d_out_MO, x_MI, ends_E) if ctx.needs_input_grad[1] else None
    return d_x, d_weight, None


grouped_product.register_autograd(_gradients, setup_context=_keep)


# What the counter of operations takes these for: every row meets one matrix, however the rows are shared out.
@register_flop_formula(torch.ops.groundup.grouped_product)
def _(x_shape: Any, weight_shape: Any, *_args: Any, **_kwargs: Any) -> int:
    return 2 * x_shape[0] * weight_shape[1] * weight_shape[2]


@register_flop_formula(torch.ops.groundup.grouped_outer_product)
def _(y_shape: Any, x_shape: Any, *_args: Any, **_kwargs: Any) -> int:
    return 2 * x_shape[0] * y_shape[1] * x_shape[1]


def _kernel_fits(one: Tensor, other: Tensor) -> bool:
    """Whether torch's grouped kernel takes these: CUDA, bf16, rows of whole 16 bytes."""
    aligned = one.shape[-1] % 8 == 0 and all(size % 8 == 0 for size in other.shape[-2:][-(other.ndim - 1) :])
    return one.is_cuda and one.dtype == torch.bfloat16 and aligned and hasattr(F, "grouped_mm")


def _groups(ends_E: Tensor) -> list[tuple[int, int, int]]:
    """(group, first row, row after the last) of the groups that have rows."""
    ends = ends_E.tolist()
    spans = zip(range(len(ends)), [0, *ends], ends, strict=False)
    return [(group, start, stop) for group, start, stop in spans if stop > start]
