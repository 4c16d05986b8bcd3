"""Llama 3's rotary scaling in a GGUF file: one number a pair, how many times slower it turns (`rope_freqs.weight`).

The rule behind the numbers has four parameters (layers/rope_scaling.py). Between the pairs that stay and those that are
slowed by the full factor, a pair keeps the share k of its speed that grows in a straight line with the turns t it makes
over the original context: k = (t - low) / (high - low). So two such pairs give the line, and low may be 1 without loss,
since only low, high and the original context together matter.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groundup.core.errors import GroundupError
from groundup.models.layers.rope_scaling import RopeScaling

_TOLERANCE = 1e-4
# Llama 3.1's own numbers, for models so narrow that no two pairs lie on the line.
_LOW, _HIGH, _ORIGINAL = 1.0, 4.0, 8192


def factors_of(scaling: RopeScaling, frequencies_P: Tensor, n_dims: int, theta: float) -> Tensor:
    """How many times slower each pair turns, float32."""
    stretched_P, _ = scaling.apply(frequencies_P, n_dims, theta, torch.zeros(1, 1))
    return (frequencies_P / stretched_P).float()


def frequencies(n_dims: int, theta: float) -> Tensor:
    """The unstretched speeds of the pairs, in radians a token (Su et al. 2021, section 3.2.2)."""
    return 1.0 / theta ** (torch.arange(0, n_dims, 2, dtype=torch.float32) / n_dims)


def rope_of_factors(
    factors_P: Tensor, width: int, theta: float, original_context: int | None, path: Path
) -> dict[str, Any]:
    """What config.json's `rope_parameters` say for these factors; raises GroundupError when no Llama 3 scaling gives them.

    `original_context` is the length the model was trained on first, where the file says it.
    """
    speeds_P = frequencies(width, theta)
    factor = float(factors_P.max())
    for low, high, original in (
        _line(factors_P, speeds_P, factor),
        (_LOW, _HIGH, original_context or _ORIGINAL),
    ):
        if original < 1 or high <= low:
            continue
        scaling = RopeScaling.build(
            {
                "kind": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_context_length": original,
            },
            source=str(path),
        )
        found_P = factors_of(scaling, speeds_P, width, theta)
        if bool(((found_P - factors_P).abs() <= _TOLERANCE * factors_P).all()):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": original,
            }
    raise GroundupError(
        f"{path}: its rotary positions are stretched (rope_freqs.weight) in another way than Llama 3's, which is not supported"
    )


def _line(factors_P: Tensor, speeds_P: Tensor, factor: float) -> tuple[float, float, int]:
    """low, high and the original context of the straight line through the pairs between; zeros when there are too few."""
    kept_P = (factors_P.double().reciprocal() - 1 / factor) / (1 - 1 / factor) if factor > 1 else torch.zeros(1)
    between = (kept_P > 1e-3) & (kept_P < 1 - 1e-3)
    if int(between.sum()) < 2:
        return 0.0, 0.0, 0
    speeds, kept = speeds_P.double()[between], kept_P[between]
    slope = float((kept[0] - kept[-1]) / (speeds[0] - speeds[-1]))
    intercept = float(kept[0]) - slope * float(speeds[0])
    high = round(1 - 1 / intercept, 3)
    return 1.0, high, round(2 * math.pi * slope * (high - 1))
