"""What models share whose attention turns queries and keys by their position: the base, its scaling, what they must fit."""

from __future__ import annotations

import pydantic

from groundup.models.base import AttentionConfig
from groundup.models.layers.position import Rotary, check_pairs
from groundup.models.layers.rope_scaling import RopeScaling


class RotaryConfig(AttentionConfig):
    """The sizes of a model with rotary positions."""

    rope_theta: float = pydantic.Field(10_000.0, gt=0, description="base of the rotary wavelengths, in tokens")
    rope_scaling: RopeScaling | None = pydantic.Field(None, description="how rotary positions are stretched")

    @property
    def n_turned(self) -> int:
        """How many numbers of each head are turned: all, unless an architecture says otherwise."""
        return self.d_head

    def rotary(self) -> Rotary:
        """The angles this model turns by."""
        return Rotary(self.n_turned, self.rope_theta, self.rope_scaling)

    @pydantic.model_validator(mode="after")
    def _turns_pairs(self) -> RotaryConfig:
        name = "d_head" if self.n_turned == self.d_head else f"the part of d_head {self.d_head} that turns,"
        check_pairs(self.n_turned, name)
        if self.rope_scaling is not None:
            self.rope_scaling.check(self.n_turned, self.context_length)
        return self


class PartlyRotaryConfig(RotaryConfig):
    """The sizes of a model that turns the first part of each head and leaves the rest without positions."""

    rotary_share: float = pydantic.Field(1.0, gt=0, le=1, description="share of a head's numbers that turn")

    @property
    def n_turned(self) -> int:
        return int(self.d_head * self.rotary_share)
