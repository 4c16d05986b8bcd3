"""Qwen2 and 2.5: Llama's blocks with biases on queries, keys and values, which help it read past the trained length.

Pre-norm blocks with RMSNorm, rotary positions, SwiGLU, grouped-query attention; some layers may see only a window.
Source: Qwen2 Technical Report (Yang et al. 2024), section 2.2.1; the biases: Su 2023, as cited there.
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
from groundup.models.sizes import modern_sizes
from groundup.models.weights import ForeignConfig, WeightTable
from groundup.models.windowed_config import WindowedConfig, windows_from, windows_to


class Config(WindowedConfig):
    """Sizes of a Qwen2 model."""

    architecture: Literal["qwen2"] = "qwen2"  # pyright: ignore[reportIncompatibleVariableOverride]
    norm_eps: float = pydantic.Field(1e-6, gt=0, description="added to the mean square before its root is taken")

    def matrix_parameters(self) -> int:
        return self.n_layers * (self.attention_parameters() + 3 * self.d_model * self.d_ff)

    def vector_parameters(self) -> int:
        biases = self.d_head * (self.n_heads + 2 * self.n_kv_heads)
        return self.n_layers * (2 * self.d_model + biases) + self.d_model


class Block(nn.Module):
    """Attention, then feed-forward, each reading a normalised copy and adding to the residual stream."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = GroupedQueryAttention(config, layer, bias=True, window=config.window_of(layer))
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_eps)
        self.feed_forward = SwiGLU(config.d_model, config.d_ff)

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), reading)
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))


class Model(LanguageModel):
    """A Qwen2 language model; see `LanguageModel` for what it does."""

    def __init__(self, config: Config) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RMSNorm(config.d_model, config.norm_eps))
        self.rotaries = (config.rotary(),)


derived_sizes = modern_sizes

MODEL_TYPES = ("qwen2",)


def weights(config: Config) -> WeightTable:
    """The tensors of its files."""
    return WeightTable(
        (
            llama_files.EMBEDDING,
            *llama_files.PRE_NORMS,
            *llama_files.attention_rows(bias=True),
            *llama_files.feed_forward_rows(),
            llama_files.FINAL_NORM,
        ),
        head=llama_files.HEAD,
        prefix="model.",
        ignored=llama_files.FREQUENCIES,
    )


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        **llama_files.sizes_to(config),
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        **llama_files.rotary_to(config),
        **windows_to(config),
        "attention_dropout": 0.0,
    }


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    settings = ForeignConfig({"num_key_value_heads": 32, "sliding_window": 4096} | values)
    settings.require("hidden_act", "silu")
    settings.require("attention_dropout", 0.0)
    sizes = llama_files.sizes_from(settings)
    more = llama_files.rotary_from(settings, sizes) | windows_from(settings, sizes["n_layers"])
    more["norm_eps"] = settings.take("rms_norm_eps", 1e-6)
    config = Config.build(sizes | more, source="config.json")
    settings.finish()
    return config
