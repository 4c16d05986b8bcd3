"""Llama, and what is built like it: Llama 2 and 3, TinyLlama, SmolLM, Mistral.

Pre-norm blocks with RMSNorm, rotary positions, SwiGLU and, from Llama 2 70B on, grouped-query attention. Sources: Touvron
et al. 2023, "LLaMA", section 2.2; Grattafiori et al. 2024, "The Llama 3 Herd of Models", section 3.2 (rotary scaling:
the 3.1 models' files); Jiang et al. 2023, "Mistral 7B", section 2 (a token sees only the newest `window` tokens).
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic
from torch import Tensor, nn

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
    """Sizes of a Llama model."""

    architecture: Literal["llama"] = "llama"  # pyright: ignore[reportIncompatibleVariableOverride]
    norm_eps: float = pydantic.Field(1e-5, gt=0, description="added to the mean square before its root is taken")
    rope_theta: float = pydantic.Field(10_000.0, gt=0, description="base of the rotary wavelengths, in tokens")
    rope_scaling: RopeScaling | None = pydantic.Field(None, description="how rotary positions are stretched")
    window: int | None = pydantic.Field(None, ge=1, description="tokens a token sees, itself among them; None: all")
    attention_bias: bool = pydantic.Field(False, description="whether the four attention matrices have biases")
    feed_forward_bias: bool = pydantic.Field(False, description="whether the feed-forward matrices have biases")

    @pydantic.model_validator(mode="after")
    def _possible(self) -> Config:
        check_pairs(self.d_head)
        if self.window is not None and (self.attention_bias or self.feed_forward_bias):
            raise ValueError("window and biases do not go together: no published format (Mistral's, Llama's) has both")
        return self

    def matrix_parameters(self) -> int:
        return self.n_layers * (self.attention_parameters() + 3 * self.d_model * self.d_ff)

    def vector_parameters(self) -> int:
        attention = self.d_head * (self.n_heads + 2 * self.n_kv_heads) + self.d_model
        feed_forward = 2 * self.d_ff + self.d_model
        biases = self.attention_bias * attention + self.feed_forward_bias * feed_forward
        return self.n_layers * (2 * self.d_model + biases) + self.d_model


class Block(nn.Module):
    """Attention, then feed-forward, each reading a normalised copy and adding to the residual stream."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        bias = config.attention_bias
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = GroupedQueryAttention(config, layer, bias=bias, output_bias=bias, window=config.window)
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_eps)
        self.feed_forward = SwiGLU(config.d_model, config.d_ff, bias=config.feed_forward_bias)

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), reading)
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))


class Model(LanguageModel):
    """A Llama language model; see `LanguageModel` for what it does."""

    def __init__(self, config: Config) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RMSNorm(config.d_model, config.norm_eps))
        self.rotaries = (Rotary(config.d_head, config.rope_theta, config.rope_scaling),)


derived_sizes = modern_sizes

MODEL_TYPES = ("llama", "mistral")


def weights(config: Config) -> WeightTable:
    """The tensors of its files."""
    return WeightTable(
        (
            llama_files.EMBEDDING,
            *llama_files.PRE_NORMS,
            *llama_files.attention_rows(bias=config.attention_bias, output_bias=config.attention_bias),
            *llama_files.feed_forward_rows(bias=config.feed_forward_bias),
            llama_files.FINAL_NORM,
        ),
        head=llama_files.HEAD,
        prefix="model.",
        # Frequencies that files of early versions carry; they follow from the config.
        ignored=r"(model\.)?layers\.\d+\.self_attn\.rotary_emb\.inv_freq",
    )


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model: Mistral's when it has a window, Llama's otherwise."""
    values = {
        **llama_files.sizes_to(config),
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        **llama_files.rope_to(config.rope_theta, config.rope_scaling),
        "attention_dropout": 0.0,
    }
    if config.window is not None:
        names = {"architectures": ["MistralForCausalLM"], "model_type": "mistral"}
        return names | values | {"sliding_window": config.window}
    biases = {"attention_bias": config.attention_bias, "mlp_bias": config.feed_forward_bias}
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama"} | values | biases


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    settings = ForeignConfig(values, without_effect="pretraining_tp is_llama_config rope_interleaved")
    mistral = settings.take("model_type", ...) == "mistral"
    settings.require("hidden_act", "silu")
    settings.require("attention_dropout", 0.0)
    sizes = llama_files.sizes_from(settings, n_kv_heads=8 if mistral else None)
    rope_theta, rope_scaling = llama_files.rope_from(settings)
    more = {"norm_eps": settings.take("rms_norm_eps", 1e-6), "rope_theta": rope_theta, "rope_scaling": rope_scaling}
    if mistral:
        # Mistral's own default; null means that a token sees all before it.
        more["window"] = settings.take("sliding_window") if "sliding_window" in values else 4096
    else:
        more["attention_bias"] = settings.take("attention_bias", False)
        more["feed_forward_bias"] = settings.take("mlp_bias", False)
    config = Config.build(sizes | more, source="config.json")
    settings.finish()
    return config
