"""Qwen3: the modern form of the decoder, and the default here, since its files open in every common tool.

Pre-norm blocks with RMSNorm, rotary positions, SwiGLU, grouped-query attention, no biases; queries and keys are
normalised a head before they are rotated (QK-norm: Henry et al. 2020; Dehghani et al. 2023, section 2), which bounds
the attention scores and lets training take large steps. Source: Qwen3 Technical Report (Yang et al. 2025), section 2.
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic
from torch import Tensor, nn

from groundup.core.errors import GroundupError
from groundup.models import llama_files
from groundup.models.base import AttentionConfig, LanguageModel, Reading
from groundup.models.layers.feedforward import SwiGLU
from groundup.models.layers.grouped_query import GroupedQueryAttention
from groundup.models.layers.norm import RMSNorm
from groundup.models.layers.position import Rotary, check_pairs
from groundup.models.layers.rope_scaling import RopeScaling
from groundup.models.sizes import modern_sizes
from groundup.models.weights import ForeignConfig, WeightTable


class Config(AttentionConfig):
    """Sizes of a Qwen3 model."""

    architecture: Literal["qwen3"] = "qwen3"  # pyright: ignore[reportIncompatibleVariableOverride]
    norm_eps: float = pydantic.Field(1e-6, gt=0, description="added to the mean square before its root is taken")
    rope_theta: float = pydantic.Field(10_000.0, gt=0, description="base of the rotary wavelengths, in tokens")
    rope_scaling: RopeScaling | None = pydantic.Field(None, description="how rotary positions are stretched")

    @pydantic.model_validator(mode="after")
    def _head_has_pairs(self) -> Config:
        check_pairs(self.d_head)
        return self

    def matrix_parameters(self) -> int:
        return self.n_layers * (self.attention_parameters() + 3 * self.d_model * self.d_ff)

    def vector_parameters(self) -> int:
        return self.n_layers * 2 * (self.d_model + self.d_head) + self.d_model


class Block(nn.Module):
    """Attention, then feed-forward, each reading a normalised copy and adding to the residual stream."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = GroupedQueryAttention(config, layer, norm=lambda width: RMSNorm(width, config.norm_eps))
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_eps)
        self.feed_forward = SwiGLU(config.d_model, config.d_ff)

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), reading)
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))


class Model(LanguageModel):
    """A Qwen3 language model; see `LanguageModel` for what it does."""

    def __init__(self, config: Config) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RMSNorm(config.d_model, config.norm_eps))
        self.rotaries = (Rotary(config.d_head, config.rope_theta, config.rope_scaling),)


derived_sizes = modern_sizes

MODEL_TYPES = ("qwen3",)


def weights(config: Config) -> WeightTable:
    """The tensors of its files."""
    return WeightTable(
        (
            llama_files.EMBEDDING,
            *llama_files.PRE_NORMS,
            *llama_files.attention_rows(),
            *llama_files.HEAD_NORMS,
            *llama_files.feed_forward_rows(),
            llama_files.FINAL_NORM,
        ),
        head=llama_files.HEAD,
        prefix="model.",
    )


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        **llama_files.sizes_to(config),
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        **llama_files.rope_to(config.rope_theta, config.rope_scaling),
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
    }


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    # The window's settings say nothing unless use_sliding_window is on, which is refused.
    settings = ForeignConfig({"head_dim": 128} | values, without_effect="sliding_window max_window_layers")
    settings.require("hidden_act", "silu")
    settings.require("attention_bias", False)
    settings.require("attention_dropout", 0.0)
    settings.require("use_sliding_window", False)
    if other := set(settings.take("layer_types", [])) - {"full_attention"}:
        raise GroundupError(
            f"config.json asks for layer_types {sorted(other)}; only 'full_attention' is supported here"
        )
    sizes = llama_files.sizes_from(settings)
    rope_theta, rope_scaling = llama_files.rope_from(settings)
    more = {"norm_eps": settings.take("rms_norm_eps", 1e-6), "rope_theta": rope_theta, "rope_scaling": rope_scaling}
    config = Config.build(sizes | more, source="config.json")
    settings.finish()
    return config
