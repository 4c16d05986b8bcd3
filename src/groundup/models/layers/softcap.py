"""Soft caps: numbers bent so that none passes a limit, smoothly, so that gradients still flow.

x becomes c tanh(x / c): itself while small against c, never beyond c. Gemma 2 caps attention scores at 50 and logits at
30 (Riviere et al. 2024, section 2, after Bello et al. 2016, section 5.1); Gemma 3 went back to norms on queries and keys.
"""

from __future__ import annotations

import torch
from torch import Tensor


def soft_capped(x: Tensor, cap: float) -> Tensor:
    """`cap * tanh(x / cap)`; keeps shape and dtype.

    tanh u is 2 sigmoid(2 u) - 1: the compiler's sigmoid is 3.5 times as fast as its tanh, for an error of 1e-7 cap.
    """
    if torch.compiler.is_compiling():
        return (torch.sigmoid(x.float() * (2 / cap)) * (2 * cap) - cap).to(x.dtype)
    return torch.tanh(x / cap) * cap


def slope(capped: Tensor, cap: float) -> Tensor:
    """The derivative of `soft_capped` where it gave `capped`: 1 - tanh^2."""
    return 1 - (capped / cap).square()
