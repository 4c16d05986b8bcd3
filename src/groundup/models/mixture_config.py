"""What mixtures of experts share: how many experts there are, how many a token takes, and how they are kept busy."""

from __future__ import annotations

from typing import Any

import pydantic

from groundup.models.rotary_config import RotaryConfig
from groundup.models.sizes import Dial, modern_sizes


class MixtureConfig(RotaryConfig):
    """The sizes of a model with mixtures of experts and rotary positions."""

    n_experts: int = pydantic.Field(ge=1, description="feed-forward layers side by side in a mixture")
    n_active_experts: int = pydantic.Field(ge=1, description="how many of them a token goes through")
    balance_coefficient: float = pydantic.Field(
        0.001, ge=0, description="weight of the loss that keeps all experts busy in training"
    )

    @pydantic.model_validator(mode="after")
    def _there_are_enough(self) -> MixtureConfig:
        if self.n_active_experts > self.n_experts:
            raise ValueError(f"n_active_experts {self.n_active_experts} is more than the {self.n_experts} n_experts")
        return self

    def mixture_parameters(self, d_expert: int) -> int:
        """Parameters of one mixture: its router and all experts' three matrices."""
        return self.n_experts * (self.d_model + 3 * self.d_model * d_expert)

    def active_mixture_parameters(self, d_expert: int) -> int:
        """Those a token is multiplied with: the router's and its own experts'."""
        return self.n_experts * self.d_model + self.n_active_experts * 3 * self.d_model * d_expert


def mixture_sizes(dial: Dial, width: str) -> dict[str, Any]:
    """Sizes as in the Llama family, each feed-forward layer a mixture that computes as much; `width` names an expert's.

    Eight experts and two of them, as in Mixtral (Jiang et al. 2024, table 1); each half as wide as the dense layer.
    """
    dense = modern_sizes(dial)
    return {
        **dense,
        "n_experts": 8,
        "n_active_experts": 2,
        width: dense["d_ff"] // 2,
        "balance_coefficient": 0.01,  # Fedus et al. 2021, section 2.2: balances, and disturbs the loss little
    }
