"""Rotary positions for contexts longer than those a model was trained on: each kind slows the turning its own way.

A pair that turns slowly has never been seen at the angles that far positions would need; so published models stretch
the slow pairs and leave the fast ones, which tell neighbours apart.

- linear: all pairs slower by `factor` (Chen et al. 2023, "Extending Context Window ... via Positional Interpolation").
- llama3: pairs with wavelengths over L / low_freq_factor slower by `factor`, under L / high_freq_factor as they were,
  a straight line between (Llama 3.1's reference code; L is `original_context_length`).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import pydantic
import torch
from torch import Tensor

from groundup.core.config import Config

# The numbers each kind has.
NUMBERS = {
    "linear": ("factor",),
    "llama3": ("factor", "original_context_length", "low_freq_factor", "high_freq_factor"),
}


class RopeScaling(Config):
    """A kind of scaling and its numbers, named as in a Hugging Face config."""

    kind: Literal["linear", "llama3"] = pydantic.Field(description="which rule stretches the angles")
    factor: float = pydantic.Field(1.0, gt=0, description="how many times longer the context is to be")
    original_context_length: int | None = pydantic.Field(
        None, ge=1, description="tokens the model was trained on first"
    )
    low_freq_factor: float = pydantic.Field(1.0, gt=0, description="llama3: from which wavelengths on all is stretched")
    high_freq_factor: float = pydantic.Field(4.0, gt=0, description="llama3: up to which wavelengths nothing is")

    @pydantic.model_validator(mode="after")
    def _numbers_of_its_kind(self) -> RopeScaling:
        mine = NUMBERS[self.kind]
        if other := self.model_fields_set - {"kind", *mine}:
            raise ValueError(f"{', '.join(sorted(other))} mean nothing for rope scaling of kind {self.kind}")
        if "original_context_length" in mine and self.original_context_length is None:
            raise ValueError(f"rope scaling of kind {self.kind} needs original_context_length")
        return self

    def numbers(self) -> dict[str, Any]:
        """The numbers of this kind by name."""
        return {name: getattr(self, name) for name in NUMBERS[self.kind]}

    def apply(self, frequencies_P: Tensor, n_dims: int, theta: float, positions_BT: Tensor) -> tuple[Tensor, float]:
        """The frequencies (radians a token) of all pairs, stretched, and what cosines and sines are multiplied by."""
        if self.kind == "linear":
            return frequencies_P / self.factor, 1.0
        assert self.original_context_length is not None
        turns_P = self.original_context_length * frequencies_P / (2 * math.pi)  # over the original context
        width = self.high_freq_factor - self.low_freq_factor
        kept_P = ((turns_P - self.low_freq_factor) / width).clamp(0, 1)
        return torch.lerp(frequencies_P / self.factor, frequencies_P, kept_P), 1.0
