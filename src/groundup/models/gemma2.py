"""Gemma 2: a decoder that keeps its numbers small everywhere, so that large models train calmly.

Each part of a block has a norm before and one after it (a sandwich); attention scores and logits are soft-capped; the
embedding is scaled up by sqrt(d_model), so that a tied table can serve at both ends. Layers take turns in seeing a window
and all tokens. Feed-forward layers are GeGLU. Source: Riviere et al. 2024, "Gemma 2", section 2 and table 1.
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic
from torch import Tensor, nn

from groundup.models import llama_files
from groundup.models.base import LanguageModel, Reading
from groundup.models.layers.embedding import scaled
from groundup.models.layers.feedforward import Gated, gelu
from groundup.models.layers.grouped_query import GroupedQueryAttention
from groundup.models.layers.norm import RMSNorm
from groundup.models.sizes import Dial, modern_sizes
from groundup.models.weights import ForeignConfig, WeightTable
from groundup.models.windowed_config import WindowedConfig, layer_types, windows_but_every


class Config(WindowedConfig):
    """Sizes of a Gemma 2 model."""

    architecture: Literal["gemma2"] = "gemma2"  # pyright: ignore[reportIncompatibleVariableOverride]
    norm_eps: float = pydantic.Field(1e-6, gt=0, description="added to the mean square before its root is taken")
    query_pre_attn_scalar: int | None = pydantic.Field(
        None, ge=1, description="scores are divided by its root; None: d_head"
    )
    attention_softcap: float | None = pydantic.Field(50.0, gt=0, description="what no attention score passes")
    logit_softcap: float | None = pydantic.Field(30.0, gt=0, description="what no logit passes")

    def matrix_parameters(self) -> int:
        return self.n_layers * (self.attention_parameters() + 3 * self.d_model * self.d_ff)

    def vector_parameters(self) -> int:
        return self.n_layers * 4 * self.d_model + self.d_model


class Block(nn.Module):
    """Attention, then feed-forward, each between two norms and adding to the residual stream."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()

        def norm() -> RMSNorm:
            return RMSNorm(config.d_model, config.norm_eps, offset=1.0)

        self.attention_norm, self.attention_post_norm = norm(), norm()
        self.attention = GroupedQueryAttention(
            config,
            layer,
            window=config.window_of(layer),
            scale=(config.query_pre_attn_scalar or config.d_head) ** -0.5,
            softcap=config.attention_softcap,
        )
        self.feed_forward_norm, self.feed_forward_post_norm = norm(), norm()
        self.feed_forward = Gated(config.d_model, config.d_ff, gelu)

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        x_BTD = x_BTD + self.attention_post_norm(self.attention(self.attention_norm(x_BTD), reading))
        return x_BTD + self.feed_forward_post_norm(self.feed_forward(self.feed_forward_norm(x_BTD)))


class Model(LanguageModel):
    """A Gemma 2 language model; see `LanguageModel` for what it does."""

    writing = ("attention_post_norm", "feed_forward_post_norm")

    def __init__(self, config: Config) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RMSNorm(config.d_model, config.norm_eps, offset=1.0))
        self.rotaries = (config.rotary(),)
        self.logit_softcap = config.logit_softcap

    def embed(self, tokens_BT: Tensor, reading: Reading) -> Tensor:
        return scaled(super().embed(tokens_BT, reading), self.config.d_model**0.5)


def derived_sizes(dial: Dial) -> dict[str, Any]:
    """Those of the Llama family; every second layer sees half the context, as in the published models."""
    windowed_layers = tuple(range(0, dial.n_layers, 2))
    return modern_sizes(dial) | {"windowed_layers": windowed_layers, "window": max(1, dial.context_length // 2)}


MODEL_TYPES = ("gemma2",)


def weights(config: Config) -> WeightTable:
    """The tensors of its files."""
    return WeightTable(
        (
            llama_files.EMBEDDING,
            *llama_files.SANDWICH_NORMS,
            *llama_files.attention_rows(),
            *llama_files.feed_forward_rows(),
            llama_files.FINAL_NORM,
        ),
        head=llama_files.HEAD,
        prefix="model.",
    )


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model."""
    return {
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        **llama_files.sizes_to(config),
        "hidden_activation": "gelu_pytorch_tanh",
        "rms_norm_eps": config.norm_eps,
        **llama_files.rotary_to(config),
        "sliding_window": config.window or 4096,  # a number is asked for even where no layer has it
        "layer_types": layer_types(config),
        "query_pre_attn_scalar": config.query_pre_attn_scalar or config.d_head,
        "attn_logit_softcapping": config.attention_softcap,
        "final_logit_softcapping": config.logit_softcap,
        "attention_bias": False,
        "attention_dropout": 0.0,
    }


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    # What the family takes where a setting is absent; null means none.
    defaults = {
        "head_dim": 256,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    }
    settings = ForeignConfig(defaults | values, without_effect="cache_implementation")
    settings.require("hidden_activation", "gelu_pytorch_tanh")
    # The first files named the wrong function here, and every tool took the right one.
    settings.require("hidden_act", "gelu_pytorch_tanh", "gelu")
    settings.require("attention_bias", False)
    settings.require("attention_dropout", 0.0)
    sizes = llama_files.sizes_from(settings, n_kv_heads=4, tied=True)
    scalar = settings.take("query_pre_attn_scalar", 256)
    more = {
        "norm_eps": settings.take("rms_norm_eps", 1e-6),
        **llama_files.rotary_from(settings, sizes),
        **windows_but_every(2, settings, sizes["n_layers"]),
        "query_pre_attn_scalar": None if scalar == sizes["d_head"] else scalar,
        "attention_softcap": settings.take("attn_logit_softcapping"),
        "logit_softcap": settings.take("final_logit_softcapping"),
    }
    config = Config.build(sizes | more, source="config.json")
    settings.finish()
    return config
