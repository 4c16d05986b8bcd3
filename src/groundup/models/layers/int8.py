"""Linear maps with 8-bit weights, for writing text: at one token a step, reading the weights is what takes the time.

Each row of a matrix is kept as integers from -127 to 127 and one scale (its greatest magnitude / 127), so half the bytes
of bfloat16 are read for every token. Rounding a row this way moves a weight by at most half a scale (symmetric,
per-channel, weight-only quantisation: Jacob et al. 2018, section 2.1; Dettmers et al. 2022, "LLM.int8()", section 2.1
calls it row-wise absmax). The product is torch's own kernel; for many rows at once (a prompt), where arithmetic rules
and that kernel is slow, the weights are widened for the moment.

A frozen map in 8 bits also hands gradients back to its input, so that adapters can be trained on it (Dettmers et al. 2023,
"QLoRA", section 3). Both passes widen the weights anew: kept in between, the wide copies of all layers would take more
memory than the 8 bits had saved.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.core.errors import GroundupError

# Measured at 3072 x 768 on two cores with AVX-512 bf16: up to here the kernel wins over widening the weights.
MOST_ROWS = 16
# The kernel reads this many numbers of a row at once, and computes nonsense when a row does not divide so.
GRAIN = 16


class Int8Linear(nn.Module):
    """`x @ weight.T + bias` with weight [out, in] in 8 bits; made from a linear map, and frozen."""

    values: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """`weight` [out, in] in any floating dtype, which becomes that of the scales; `bias` [out] is kept as it is."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        values, scale = quantize_rows(weight)
        self.register_buffer("values", values)
        self.register_buffer("scale", scale)
        self.bias = bias

    @property
    def weight(self) -> Tensor:
        """What the integers stand for, [out, in] in the dtype of the scales: a copy, made for whoever asks."""
        return self.values.to(self.scale.dtype) * self.scale[:, None]

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        if torch.is_grad_enabled() and rows.requires_grad:
            out = _Widened.apply(rows, self.values, self.scale)
        elif rows.shape[0] <= MOST_ROWS and rows.is_cpu:
            out = torch._weight_int8pack_mm(rows, self.values, self.scale.to(x.dtype))
        else:
            out = widened_product(rows, self.values, self.scale)
        if self.bias is not None:
            out = out + self.bias.to(x.dtype)
        return out.view(*x.shape[:-1], -1)

    def wide(self) -> Tensor:
        """The weight [out, in] in fp32, as the layer computes with it."""
        return self.values.float() * self.scale.float()[:, None]


def widened_product(rows_NI: Tensor, weight_OI: Tensor, scale_O: Tensor) -> Tensor:
    """`x @ (weight * scale).T` [N, O] in the dtype of x, by a wide copy of the weight that is let go at once."""
    return F.linear(rows_NI, weight_OI.to(rows_NI.dtype)) * scale_O.to(rows_NI.dtype)


class _Widened(torch.autograd.Function):
    """The same with a gradient for x, which widens the weight again."""

    @staticmethod
    def forward(ctx: Any, rows_NI: Tensor, weight_OI: Tensor, scale_O: Tensor) -> Tensor:
        ctx.save_for_backward(weight_OI, scale_O)
        return widened_product(rows_NI, weight_OI, scale_O)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (weight_OI, scale_O), d_out_NO = ctx.saved_tensors, grad_outputs[0]
        return (d_out_NO * scale_O.to(d_out_NO.dtype)) @ weight_OI.to(d_out_NO.dtype), None, None


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix as int8 [out, in] and the scale [out] of each row, in the dtype of the matrix."""
    wide = weight.detach().float()
    # The scale as it will be read, so that its own rounding does no harm.
    scale = (wide.abs().amax(dim=1).clamp_min(1e-12) / 127).to(weight.dtype)
    values = (wide / scale.float()[:, None]).round().clamp_(-127, 127).to(torch.int8)
    return values, scale


def usable(linear: nn.Linear) -> bool:
    """Whether the kernel can work with a linear map of this width."""
    return linear.in_features % GRAIN == 0


def check_kernel() -> None:
    """Compare torch's kernel with plain products once; raises GroundupError where it is missing or wrong."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2 * GRAIN, generator=generator)
    values = torch.randint(-127, 128, (5, 2 * GRAIN), dtype=torch.int8, generator=generator)
    scale = torch.rand(5, generator=generator)
    expected = x @ values.float().T * scale
    try:
        found = torch._weight_int8pack_mm(x, values, scale)
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        raise GroundupError(
            f"torch {torch.__version__} has no 8-bit product here ({error}); use bf16 or fp32"
        ) from None
    if not torch.allclose(found, expected, rtol=1e-4, atol=1e-3):
        raise GroundupError(f"torch {torch.__version__} computes 8-bit products wrongly here; use bf16 or fp32")
