"""Linear maps with 4-bit weights, frozen, to train adapters on: an eighth of the bytes of fp32, for some of the truth.

NF4 (Dettmers et al. 2023, "QLoRA", section 3): blocks of 64 numbers share a scale, and each number is the nearest of 16
levels that hold equal shares of a normal distribution, as trained weights nearly are. Rounding and widening are the library
bitsandbytes' (on CPUs and GPUs); both passes widen anew, as in layers/int8.py. Its error is about 9 % of a matrix's length,
against 0.7 % in 8 bits, so it is for training on, not for writing with.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.core.errors import GroundupError, missing_extra

BLOCK = 64  # numbers that share a scale


class NF4Linear(nn.Module):
    """`x @ weight.T + bias` with weight [out, in] in 4 bits; made from a linear map, and frozen."""

    weight: Tensor  # two numbers a byte
    scale: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """`weight` [out, in] in any floating dtype; `bias` [out] is kept as it is. Raises GroundupError without the library."""
        super().__init__()
        load_library()
        self.out_features, self.in_features = weight.shape
        packed, scale = torch.ops.bitsandbytes.quantize_4bit(weight.detach(), BLOCK, "nf4", torch.uint8)
        self.register_buffer("weight", packed)
        # As bits, so that a change of the model's dtype cannot round what all numbers of a block are multiplied with.
        self.register_buffer("scale", scale.float().view(torch.int32))
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        shape = (self.out_features, self.in_features)
        out = _Widened.apply(x.flatten(0, -2), self.weight, self.scale, shape)
        if self.bias is not None:
            out = out + self.bias.to(x.dtype)
        return out.view(*x.shape[:-1], -1)

    def wide(self) -> Tensor:
        """The weight [out, in] in fp32, as the layer computes with it."""
        return _widened(self.weight, self.scale, (self.out_features, self.in_features), torch.float32)

    def extra_repr(self) -> str:
        return f"{self.in_features} to {self.out_features}, 4 bits"


def load_library() -> None:
    """Bring in bitsandbytes, whose operations these layers call; raises GroundupError where it is missing or has none."""
    # It warns of a kernel of its own for single tokens that is downloaded from elsewhere, which is not wanted here.
    notes = logging.getLogger("bitsandbytes")
    before = notes.level
    notes.setLevel(logging.ERROR)
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise missing_extra("bitsandbytes", "int4", "a base in 4 bits") from None
    except (RuntimeError, OSError) as error:
        raise GroundupError(
            f"bitsandbytes does not work on this machine ({error}); keep the base in int8 or bf16"
        ) from None
    finally:
        notes.setLevel(before)


def _widened(packed: Tensor, scale: Tensor, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    return torch.ops.bitsandbytes.dequantize_4bit(packed, scale.view(torch.float32), BLOCK, "nf4", shape, dtype)


class _Widened(torch.autograd.Function):
    """The product, by a wide copy of the weight that is let go at once, forward and backward."""

    @staticmethod
    def forward(ctx: Any, rows_NI: Tensor, packed: Tensor, scale: Tensor, shape: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(packed, scale)
        ctx.shape = shape
        return F.linear(rows_NI, _widened(packed, scale, shape, rows_NI.dtype))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        (packed, scale), d_out_NO = ctx.saved_tensors, grad_outputs[0]
        return d_out_NO @ _widened(packed, scale, ctx.shape, d_out_NO.dtype), None, None, None
