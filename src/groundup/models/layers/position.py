"""Where a token stands: positions counted within each document, and ways of telling a model about them.

Sinusoids (Vaswani et al. 2017, section 3.5) are added to the embedding: each pair of numbers is the sine and cosine of an
angle that grows with the position, fast in the first pairs and slowly in the last.

Rotary position embedding (Su et al. 2021, section 3.4) turns each pair of numbers in a query or key by an angle
proportional to its position. The product of a query at i with a key at j then depends on i - j alone: attention sees
distances, and no table limits the length. Pairs are (first half, second half), as published checkpoints expect, not
neighbours as in the paper: the same thing up to the order of the numbers within a head.

Shapes: B batch, T tokens, H heads, K numbers a head (d_head).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from groundup.models.layers.rope_scaling import RopeScaling


def document_positions(document_ids_BT: Tensor) -> Tensor:
    """Position of each token within its document, from 0: int64 [B, T]; a document is a run of one id."""
    index_T = torch.arange(document_ids_BT.shape[1], device=document_ids_BT.device)
    starts_BT = torch.ones_like(document_ids_BT, dtype=torch.bool)
    starts_BT[:, 1:] = document_ids_BT[:, 1:] != document_ids_BT[:, :-1]
    return index_T - torch.where(starts_BT, index_T, 0).cummax(dim=1).values


def sinusoids(positions_BT: Tensor, d_model: int) -> Tensor:
    """What is added to the embedding at each position: [B or 1, T, d_model] fp32, sine and cosine in turn."""
    pairs = torch.arange(0, d_model, 2, device=positions_BT.device, dtype=torch.float32)
    angles = positions_BT[:, :, None].float() * 10_000 ** -(pairs / d_model)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(2)[:, :, :d_model]


Angles = tuple[Tensor, Tensor]  # cosines and sines [B or 1, T, 1, K/2], fp32


@dataclass(frozen=True)
class Rotary:
    """Which angles a model turns by: `n_dims` numbers of a head in pairs, `theta` the base of their wavelengths.

    Pair p turns by `theta^(-2p/n_dims)` radians a token: the first pairs tell neighbours apart, the last ones pages.
    `scaling` stretches them for contexts longer than those trained on, see rope_scaling.py.
    """

    n_dims: int
    theta: float
    scaling: RopeScaling | None = None

    def angles(self, positions_BT: Tensor) -> Angles:
        """Cosines and sines of the angle of each pair at each position.

        Made anew in every forward pass: a few thousand numbers, against a table that `model.to(bfloat16)` would spoil.
        """
        place = positions_BT.device
        frequencies = self.theta ** -(torch.arange(0, self.n_dims, 2, device=place, dtype=torch.float32) / self.n_dims)
        gain = 1.0
        if self.scaling is not None:
            frequencies, gain = self.scaling.apply(frequencies, self.n_dims, self.theta, positions_BT)
        angles = positions_BT[:, :, None, None].float() * frequencies
        return angles.cos() * gain, angles.sin() * gain


def check_pairs(n_turned: int, name: str = "d_head") -> None:
    """Refuse a head that has no pairs to turn; `name` says what the number is."""
    if n_turned % 2 or n_turned < 2:
        odd = "odd" if n_turned % 2 else "too few"
        raise ValueError(f"{name} {n_turned} is {odd}; rotary positions turn pairs of numbers, so it must be even")


def rotate(x_BTHK: Tensor, angles: Angles) -> Tensor:
    """Turn the pairs of every head by the angles of its position; computed in fp32, returned in the dtype of x.

    Angles for fewer than K numbers turn the first of a head and leave the rest as they are.
    """
    cos, sin = angles
    n_turned = 2 * cos.shape[-1]
    turning, rest = x_BTHK[..., :n_turned], x_BTHK[..., n_turned:]
    first, second = turning.chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x_BTHK.dtype)
    return torch.cat((turned, rest), dim=-1) if rest.shape[-1] else turned
