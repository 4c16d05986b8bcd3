"""OLMo 2: blocks that normalise what they write instead of what they read.

Each layer's output is normalised before it joins the residual stream, queries and keys over their whole width before they
are turned; both keep the scale of what is added from growing while it trains. Otherwise Llama's parts: RMSNorm, rotary
positions, SwiGLU, grouped-query attention. Source: OLMo et al. 2024, "2 OLMo 2 Furious", section 3.1, which credits Liu
et al. 2022, "Swin Transformer V2" (norms after a layer) and Dehghani et al. 2023 (norms of queries and keys).
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic
from torch import Tensor, nn

from groundup.models import llama_files
from groundup.models.base import LanguageModel, Reading
from groundup.models.layers.feedforward import SwiGLU
from groundup.models.layers.grouped_query import GroupedQueryAttention
from groundup.models.layers.norm import RMSNorm
from groundup.models.rotary_config import RotaryConfig
from groundup.models.sizes import modern_sizes
from groundup.models.weights import ForeignConfig, Row, WeightTable


class Config(RotaryConfig):
    """Sizes of an OLMo 2 model."""

    architecture: Literal["olmo2"] = "olmo2"  # pyright: ignore[reportIncompatibleVariableOverride]
    norm_eps: float = pydantic.Field(1e-6, gt=0, description="added to the mean square before its root is taken")
    attention_bias: bool = pydantic.Field(False, description="whether the four attention matrices have biases")

    def matrix_parameters(self) -> int:
        return self.n_layers * (self.attention_parameters() + 3 * self.d_model * self.d_ff)

    def vector_parameters(self) -> int:
        d_queries, d_keys = self.n_heads * self.d_head, self.n_kv_heads * self.d_head
        biases = d_queries + 2 * d_keys + self.d_model if self.attention_bias else 0
        return self.n_layers * (2 * self.d_model + d_queries + d_keys + biases) + self.d_model


class Block(nn.Module):
    """Attention, then feed-forward, each normalising what it adds to the residual stream."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        bias = config.attention_bias
        self.attention = GroupedQueryAttention(
            config,
            layer,
            bias=bias,
            output_bias=bias,
            norm=lambda width: RMSNorm(width, config.norm_eps),
            norm_together=True,
        )
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.feed_forward = SwiGLU(config.d_model, config.d_ff)
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_eps)

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        x_BTD = x_BTD + self.attention_norm(self.attention(x_BTD, reading))
        return x_BTD + self.feed_forward_norm(self.feed_forward(x_BTD))


class Model(LanguageModel):
    """An OLMo 2 language model; see `LanguageModel` for what it does."""

    writing = ("attention_norm", "feed_forward_norm")

    def __init__(self, config: Config) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RMSNorm(config.d_model, config.norm_eps))
        self.rotaries = (config.rotary(),)


derived_sizes = modern_sizes

MODEL_TYPES = ("olmo2",)

_LAYER = "model.layers.{layer}"


def weights(config: Config) -> WeightTable:
    """The tensors of its files."""
    return WeightTable(
        (
            llama_files.EMBEDDING,
            *llama_files.attention_rows(bias=config.attention_bias, output_bias=config.attention_bias),
            *llama_files.HEAD_NORMS,
            Row("blocks.{layer}.attention_norm.weight", f"{_LAYER}.post_attention_layernorm.weight"),
            *llama_files.feed_forward_rows(),
            Row("blocks.{layer}.feed_forward_norm.weight", f"{_LAYER}.post_feedforward_layernorm.weight"),
            llama_files.FINAL_NORM,
        ),
        head=llama_files.HEAD,
        prefix="model.",
        ignored=llama_files.FREQUENCIES,
    )


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model."""
    return {
        "architectures": ["Olmo2ForCausalLM"],
        "model_type": "olmo2",
        **llama_files.sizes_to(config),
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        **llama_files.rotary_to(config),
        "attention_bias": config.attention_bias,
        "attention_dropout": 0.0,
    }


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    settings = ForeignConfig(values)
    settings.require("hidden_act", "silu")
    settings.require("attention_dropout", 0.0)
    sizes = llama_files.sizes_from(settings)
    more = llama_files.rotary_from(settings, sizes) | {
        "norm_eps": settings.take("rms_norm_eps", 1e-5),
        "attention_bias": settings.take("attention_bias", False),
    }
    config = Config.build(sizes | more, source="config.json")
    settings.finish()
    return config
