"""Attention with linear biases: a key counts for less the farther back it lies, and that is all a model knows of order.

Each head takes `slope * distance` from its scores (Press et al. 2022, "Train Short, Test Long", section 3). The slopes fall
geometrically, so that some heads look close and others far; nothing is learned, and texts longer than those trained on
work at once.

Shapes: B batch, T queries, S keys, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor


def alibi_slopes(n_heads: int) -> list[float]:
    """How much each head takes off for a token of distance: for 8 heads 1/2, 1/4 ... 1/256.

    For n heads a geometric row that begins with its ratio, 2^(-8/n). Where n is no power of two: the slopes of the next
    smaller power, then every other one of the next larger power's (the authors' code; the paper has powers of two).
    """
    power = 1 << (n_heads.bit_length() - 1)
    first = [2 ** (-8 * (head + 1) / power) for head in range(power)]
    between = [2 ** (-8 * (head + 1) / (2 * power)) for head in range(0, 2 * power, 2)]
    return first + between[: n_heads - power]


def with_alibi(mask: Tensor, distance_BTS: Tensor, n_heads: int) -> Tensor:
    """What is added to the scores, fp32 [B, H, T, S]: the biases, and minus infinity where `mask` [B, 1, T, S] is False.

    `distance_BTS` is how far back each key lies, in tokens.
    """
    slopes_H = torch.tensor(alibi_slopes(n_heads), device=mask.device)
    biases_BHTS = -slopes_H[:, None, None] * distance_BTS[:, None]
    return biases_BHTS.masked_fill(~mask, -torch.inf)
