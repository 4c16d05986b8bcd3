"""Where a token stands: positions counted within each document, and the rotary way of telling attention about them.

Rotary position embedding (Su et al. 2021, section 3.4) turns each pair of numbers in a query or key by an angle
proportional to its position. The product of a query at i with a key at j then depends on i - j alone: attention sees
distances, and no table limits the length. Pairs are (first half, second half), as published checkpoints expect, not
neighbours as in the paper: the same thing up to the order of the numbers within a head.

Shapes: B batch, T tokens, H heads, K numbers a head (d_head).
"""

from __future__ import annotations

import torch
from torch import Tensor


def document_positions(document_ids_BT: Tensor) -> Tensor:
    """Position of each token within its document, from 0: int64 [B, T]; a document is a run of one id."""
    index_T = torch.arange(document_ids_BT.shape[1], device=document_ids_BT.device)
    starts_BT = torch.ones_like(document_ids_BT, dtype=torch.bool)
    starts_BT[:, 1:] = document_ids_BT[:, 1:] != document_ids_BT[:, :-1]
    return index_T - torch.where(starts_BT, index_T, 0).cummax(dim=1).values


def rotary_angles(positions_BT: Tensor, d_head: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines [B, T, 1, K/2], fp32, of the angle of each pair at each position.

    Pair p turns by `theta^(-2p/K)` radians a token: the first pairs tell neighbours apart, the last ones pages.
    Made anew in every forward pass: a few thousand numbers, against a table that `model.to(bfloat16)` would spoil.
    """
    exponents = torch.arange(0, d_head, 2, device=positions_BT.device, dtype=torch.float32) / d_head
    angles = positions_BT[:, :, None, None].float() * (1.0 / theta**exponents)
    return angles.cos(), angles.sin()


def rotate(x_BTHK: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs of every head by the angles of its position; computed in fp32, returned in the dtype of x."""
    cos, sin = angles
    first, second = x_BTHK.chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x_BTHK.dtype)
