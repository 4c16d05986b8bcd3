"""Llama, and what is built like it: Llama 2 and 3, TinyLlama, SmolLM 1 to 3, Mistral.

Pre-norm blocks with RMSNorm, rotary positions, SwiGLU and, from Llama 2 70B on, grouped-query attention. Sources: Touvron
et al. 2023, "LLaMA", section 2.2; Grattafiori et al. 2024, "The Llama 3 Herd of Models", section 3.2 (rotary scaling:
the 3.1 models' files); Jiang et al. 2023, "Mistral 7B", section 2 (a token sees only the newest `window` tokens); Yang et
al. 2025, "RoPE to NoPE and Back Again", section 3 (SmolLM3: some layers do not turn by position).
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
from groundup.models.weights import ForeignConfig, WeightTable


class Config(RotaryConfig):
    """Sizes of a Llama model."""

    architecture: Literal["llama"] = "llama"  # pyright: ignore[reportIncompatibleVariableOverride]
    norm_eps: float = pydantic.Field(1e-5, gt=0, description="added to the mean square before its root is taken")
    window: int | None = pydantic.Field(None, ge=1, description="tokens a token sees, itself among them; None: all")
    attention_bias: bool = pydantic.Field(False, description="whether the four attention matrices have biases")
    feed_forward_bias: bool = pydantic.Field(False, description="whether the feed-forward matrices have biases")
    unrotated_layers: tuple[pydantic.NonNegativeInt, ...] = pydantic.Field(
        (), description="layers that know no positions, counted from 0"
    )

    @pydantic.model_validator(mode="after")
    def _has_a_format(self) -> Config:
        biases = self.attention_bias or self.feed_forward_bias
        if self.window is not None and (biases or self.unrotated_layers):
            other = "biases" if biases else "unrotated_layers"
            raise ValueError(f"window and {other} do not go together: no published format has both")
        if any(layer >= self.n_layers for layer in self.unrotated_layers):
            raise ValueError(f"unrotated_layers {list(self.unrotated_layers)}: there are {self.n_layers} layers")
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
        bias, rotary = config.attention_bias, None if layer in config.unrotated_layers else 0
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = GroupedQueryAttention(
            config, layer, bias=bias, output_bias=bias, rotary=rotary, window=config.window
        )
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
        self.rotaries = (config.rotary(),)


derived_sizes = modern_sizes

MODEL_TYPES = ("llama", "mistral", "smollm3")


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
        ignored=llama_files.FREQUENCIES,
    )


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model: Mistral's when it has a window, SmolLM3's or, nearly always, Llama's."""
    values = {
        **llama_files.sizes_to(config),
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        **llama_files.rotary_to(config),
        "attention_dropout": 0.0,
    }
    if config.window is not None:
        names = {"architectures": ["MistralForCausalLM"], "model_type": "mistral"}
        return names | values | {"sliding_window": config.window}
    values |= {"attention_bias": config.attention_bias, "mlp_bias": config.feed_forward_bias}
    if config.unrotated_layers:
        turned = [int(layer not in config.unrotated_layers) for layer in range(config.n_layers)]
        names = {"architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3"}
        return names | values | {"no_rope_layers": turned, "use_sliding_window": False}
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama"} | values


# What transformers 5 takes for settings that a file leaves out, where it is not what Llama has.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "smollm3": {"num_key_value_heads": 4, "rope_theta": 2_000_000.0, "tie_word_embeddings": True},
}


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    family = values["model_type"]
    settings = ForeignConfig(
        _DEFAULTS[family] | values, without_effect="pretraining_tp is_llama_config max_window_layers"
    )
    settings.require("hidden_act", "silu")
    settings.require("rope_interleaved", False)
    settings.require("attention_dropout", 0.0)
    sizes = llama_files.sizes_from(settings)
    more = llama_files.rotary_from(settings, sizes) | {"norm_eps": settings.take("rms_norm_eps", 1e-6)}
    if family == "mistral":
        more["window"] = settings.take("sliding_window")
    else:
        more["attention_bias"] = settings.take("attention_bias", False)
        more["feed_forward_bias"] = settings.take("mlp_bias", False)
    if family == "smollm3":
        every, n_layers = settings.take("no_rope_layer_interval", 4), sizes["n_layers"]
        # Despite its name, 1 stands for a layer that turns.
        turned = settings.take("no_rope_layers", [(layer + 1) % every for layer in range(n_layers)])
        more["unrotated_layers"] = tuple(layer for layer, turns in enumerate(turned) if not turns)
        settings.require("use_sliding_window", False)
        settings.require("layer_types", ["full_attention"] * n_layers)
    config = Config.build(sizes | more, source="config.json")
    settings.finish()
    return config
