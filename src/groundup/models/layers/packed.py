"""Linear maps whose weights lie in memory as the processor multiplies them: for inference, where they never change.

The one idea: a matrix product reads its weights in small tiles. Stored row by row they are gathered into tiles at every
call, which for a few rows of input (a token of each text) takes longer than the product. Laid out once as tiles, by
oneDNN, they are read straight through: GPT-2's matrices are multiplied with 8 rows in bf16 1.7 times as fast, with one
row 2.1 times, and in fp32 2 to 2.6 times with any number (benchmarks/RESULTS.md). The numbers are the same ones and
take the same memory. Source: oneDNN, developer guide, "Memory format propagation"; torch's compiler does it when it
"freezes" a model, by the same operators as here.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from groundup.models.layers.linear import linear


class PackedLinear(nn.Module):
    """`x @ weight.T + bias` in the dtype of x, on the CPU, by a weight kept in oneDNN's layout."""

    tiles: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """`weight` [out, in] and `bias` [out] in one of the dtypes that `can_pack`."""
        super().__init__()
        self.register_buffer("tiles", torch.ops.mkldnn._reorder_linear_weight(weight.detach()))
        self.bias = bias

    @property
    def weight(self) -> Tensor:
        """The weight [out, in] row by row again: a copy, made for whoever asks."""
        return self.tiles.to_dense()

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != self.tiles.dtype:  # a router, which chooses in fp32 whatever its weights are in
            return linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.tiles, self.bias, "none", [], "")


@functools.cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether torch has these products here for `dtype`, and they are right: compared with plain ones once."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(n, 48, generator=generator).to(dtype) for n in (3, 33))
    try:
        found = PackedLinear(weight)(x)
    except (RuntimeError, AttributeError, NotImplementedError):  # built without oneDNN, or a processor without bf16
        return False
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    return torch.allclose(found.double(), x.double() @ weight.double().T, rtol=tolerance, atol=10 * tolerance)
