"""Rotary positions for contexts longer than those a model was trained on: each kind slows the turning its own way.

A pair that turns slowly has never been seen at the angles that far positions would need; so published models stretch
the slow pairs and leave the fast ones, which tell neighbours apart. L is `original_context_length`.

- linear: all pairs slower by `factor` (Chen et al. 2023, "Extending Context Window ... via Positional Interpolation").
- llama3: pairs with wavelengths over L / low_freq_factor slower by `factor`, under L / high_freq_factor as they were,
  a straight line between (Llama 3.1's reference code).
- yarn: pairs that turn less than `beta_slow` times in L slower by `factor`, those that turn more than `beta_fast` times
  as they were, a straight line over the pairs between; queries and keys also grow, which sharpens attention over many
  tokens (Peng et al. 2023, "YaRN", sections 3.2 to 3.4; `mscale` and `mscale_all_dim`: DeepSeek-V2's files).
- dynamic: as the text outgrows L, the base of the wavelengths grows with it (the "NTK-aware" scaling that Peng et al.
  2023 describe in sections 3.1 and 3.3).
- longrope: each pair slower by a number of its own, found by search: `short_factor` up to L, `long_factor` beyond (Ding
  et al. 2024, "LongRoPE", sections 3.2 and 3.3; Phi-3's files).

The last two depend on the length of a text, which is that of its document up to the newest token given: so rows of a
batch and documents of a pack keep to themselves. Keys in a decode state stay turned as they were when they were read;
transformers 5 does the same with a cache, but takes the longest row's length for a whole batch, and its `generate` reads
a Phi-3 text anew when it passes L.
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
    "yarn": (
        *("factor", "original_context_length", "beta_fast", "beta_slow"),
        *("attention_factor", "mscale", "mscale_all_dim", "truncate"),
    ),
    "dynamic": ("factor", "original_context_length"),
    "longrope": ("factor", "original_context_length", "short_factor", "long_factor", "attention_factor"),
}


class RopeScaling(Config):
    """A kind of scaling and its numbers, named as in a Hugging Face config."""

    kind: Literal["linear", "llama3", "yarn", "dynamic", "longrope"] = pydantic.Field(
        description="which rule stretches the angles"
    )
    factor: float = pydantic.Field(1.0, gt=0, description="how many times longer the context is to be")
    original_context_length: int | None = pydantic.Field(
        None, ge=1, description="tokens the model was trained on first"
    )
    low_freq_factor: float = pydantic.Field(1.0, gt=0, description="llama3: from which wavelengths on all is stretched")
    high_freq_factor: float = pydantic.Field(4.0, gt=0, description="llama3: up to which wavelengths nothing is")
    beta_slow: float = pydantic.Field(1.0, gt=0, description="yarn: turns up to which all is stretched")
    beta_fast: float = pydantic.Field(32.0, gt=0, description="yarn: turns from which on nothing is")
    truncate: bool = pydantic.Field(True, description="yarn: whether those two bounds are rounded to whole pairs")
    mscale: float | None = pydantic.Field(None, ge=0, description="yarn: how much queries and keys grow")
    mscale_all_dim: float | None = pydantic.Field(None, ge=0, description="yarn: by how much less they do")
    attention_factor: float | None = pydantic.Field(
        None, ge=0, description="yarn, longrope: what queries and keys grow by; None: as the paper says"
    )
    short_factor: tuple[pydantic.PositiveFloat, ...] = pydantic.Field((), description="longrope: of each pair, up to L")
    long_factor: tuple[pydantic.PositiveFloat, ...] = pydantic.Field((), description="longrope: of each pair, beyond L")

    @pydantic.model_validator(mode="after")
    def _numbers_of_its_kind(self) -> RopeScaling:
        mine = NUMBERS[self.kind]
        if other := self.model_fields_set - {"kind", *mine}:
            raise ValueError(f"{', '.join(sorted(other))} mean nothing for rope scaling of kind {self.kind}")
        if "original_context_length" in mine and self.original_context_length is None:
            raise ValueError(f"rope scaling of kind {self.kind} needs original_context_length")
        return self

    def numbers(self) -> dict[str, Any]:
        """The numbers of this kind by name, without those that are left to their rule (None)."""
        numbers = {name: getattr(self, name) for name in NUMBERS[self.kind]}
        return {name: number for name, number in numbers.items() if number is not None}

    def check(self, n_dims: int, context_length: int) -> None:
        """Refuse, as ValueError, numbers that do not fit heads of which `n_dims` turn, or this context length."""
        if self.kind == "longrope":
            for name, n_found in (("short_factor", len(self.short_factor)), ("long_factor", len(self.long_factor))):
                if n_found != n_dims // 2:
                    raise ValueError(
                        f"rope_scaling has {n_found} numbers in {name}; it needs {n_dims // 2}, one for each pair that turns"
                    )
        if self.kind == "dynamic":
            if n_dims == 2:
                raise ValueError("rope_scaling of kind dynamic needs more than one pair to turn in each head")
            assert self.original_context_length is not None
            if context_length != (longer := int(self.factor * self.original_context_length)):
                raise ValueError(
                    f"context_length {context_length} must be factor x original_context_length = {longer} with a "
                    "rope_scaling of kind dynamic: its files state the original length only"
                )

    def apply(self, frequencies_P: Tensor, n_dims: int, theta: float, positions_BT: Tensor) -> tuple[Tensor, float]:
        """The frequencies (radians a token) of all pairs, stretched, and what cosines and sines are multiplied by.

        [P], or [B, T, 1, P] for the kinds that depend on the length of the text.
        """
        if self.kind == "linear":
            return frequencies_P / self.factor, 1.0
        assert self.original_context_length is not None
        if self.kind == "llama3":
            turns_P = self.original_context_length * frequencies_P / (2 * math.pi)  # over the original context
            width = self.high_freq_factor - self.low_freq_factor
            kept_P = ((turns_P - self.low_freq_factor) / width).clamp(0, 1)
            return torch.lerp(frequencies_P / self.factor, frequencies_P, kept_P), 1.0
        if self.kind == "yarn":
            stretched_P = self._stretched(n_dims, theta, frequencies_P.device)
            return torch.lerp(frequencies_P, frequencies_P / self.factor, stretched_P), self._growth()
        lengths = document_lengths(positions_BT)[:, :, None, None]
        if self.kind == "dynamic":
            longer = lengths.clamp(min=self.original_context_length) / self.original_context_length
            pairs_P = torch.arange(n_dims // 2, device=frequencies_P.device)
            return frequencies_P * (self.factor * longer - (self.factor - 1)) ** (-2 * pairs_P / (n_dims - 2)), 1.0
        short_P, long_P = (frequencies_P.new_tensor(factors) for factors in (self.short_factor, self.long_factor))
        return frequencies_P / torch.where(lengths > self.original_context_length, long_P, short_P), self._growth()

    def _stretched(self, n_dims: int, theta: float, device: torch.device) -> Tensor:
        """How much of yarn's stretching each pair gets, from 0 to 1."""
        assert self.original_context_length is not None
        # The pairs, as fractions, that turn so many times over the original context.
        wavelengths = [self.original_context_length / turns for turns in (self.beta_fast, self.beta_slow)]
        low, high = (n_dims * math.log(w / (2 * math.pi)) / (2 * math.log(theta)) for w in wavelengths)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, n_dims - 1)
        # Where the bounds are one, the reference has a step a thousandth of a pair wide.
        pairs_P = torch.arange(n_dims // 2, device=device, dtype=torch.float32)
        return ((pairs_P - low) / (high - low if high != low else 0.001)).clamp(0, 1)

    def _growth(self) -> float:
        """What queries and keys are multiplied by, so that attention stays sharp over more tokens."""
        if self.attention_factor is not None:
            return self.attention_factor
        if self.factor <= 1:
            return 1.0
        if self.kind == "longrope":  # as in Phi-3's published code
            assert self.original_context_length is not None
            return math.sqrt(1 + math.log(self.factor) / math.log(self.original_context_length))
        grown = 0.1 * math.log(self.factor)  # Peng et al. 2023, equation 22
        if self.mscale and self.mscale_all_dim:
            return (self.mscale * grown + 1) / (self.mscale_all_dim * grown + 1)
        return grown + 1


def document_lengths(positions_BT: Tensor) -> Tensor:
    """How long the document of each token is, its newest token here included: int64 [B, T]."""
    n_tokens = positions_BT.shape[1]
    index_T = torch.arange(n_tokens, device=positions_BT.device)
    ends_BT = torch.ones_like(positions_BT, dtype=torch.bool)
    ends_BT[:, :-1] = positions_BT[:, 1:] <= positions_BT[:, :-1]
    end_BT = torch.where(ends_BT, index_T, n_tokens).flip(1).cummin(1).values.flip(1)
    return positions_BT + (end_BT - index_T) + 1
