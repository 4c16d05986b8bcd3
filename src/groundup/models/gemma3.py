"""Gemma 3 (its language model): Gemma 2 with norms on queries and keys in place of soft caps, and shorter memories.

Five layers of six see only a window, so most of the cache stays small however long the text; they turn by a base of their
own, since their distances are short, while the sixth layer's positions stretch to long contexts. Source: Gemma Team 2025,
"Gemma 3 Technical Report", section 2; the norms' and embedding's ways are Gemma 2's (gemma2.py).
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic
from torch import Tensor, nn

from groundup.core.errors import GroundupError
from groundup.models import llama_files
from groundup.models.base import LanguageModel, Reading
from groundup.models.layers.embedding import scaled
from groundup.models.layers.feedforward import Gated, gelu
from groundup.models.layers.grouped_query import GroupedQueryAttention
from groundup.models.layers.norm import RMSNorm
from groundup.models.layers.position import Rotary
from groundup.models.sizes import Dial, modern_sizes
from groundup.models.weights import ForeignConfig, WeightTable
from groundup.models.windowed_config import WindowedConfig, layer_types, windows_but_every

PATTERN = 6  # every sixth layer sees all tokens


class Config(WindowedConfig):
    """Sizes of a Gemma 3 model."""

    architecture: Literal["gemma3"] = "gemma3"  # pyright: ignore[reportIncompatibleVariableOverride]
    norm_eps: float = pydantic.Field(1e-6, gt=0, description="added to the mean square before its root is taken")
    rope_theta: float = pydantic.Field(1e6, gt=0, description="base of the wavelengths in layers that see all tokens")
    window_rope_theta: float = pydantic.Field(1e4, gt=0, description="base of the wavelengths in layers with a window")
    query_pre_attn_scalar: int | None = pydantic.Field(
        None, ge=1, description="scores are divided by its root; None: d_head"
    )

    def matrix_parameters(self) -> int:
        return self.n_layers * (self.attention_parameters() + 3 * self.d_model * self.d_ff)

    def vector_parameters(self) -> int:
        return self.n_layers * (4 * self.d_model + 2 * self.d_head) + self.d_model


class Block(nn.Module):
    """Attention, then feed-forward, each between two norms and adding to the residual stream."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        window = config.window_of(layer)

        def norm(width: int) -> RMSNorm:
            return RMSNorm(width, config.norm_eps, offset=1.0)

        self.attention_norm, self.attention_post_norm = norm(config.d_model), norm(config.d_model)
        self.attention = GroupedQueryAttention(
            config,
            layer,
            norm=norm,
            rotary=0 if window is None else 1,
            window=window,
            scale=(config.query_pre_attn_scalar or config.d_head) ** -0.5,
        )
        self.feed_forward_norm, self.feed_forward_post_norm = norm(config.d_model), norm(config.d_model)
        self.feed_forward = Gated(config.d_model, config.d_ff, gelu)

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        x_BTD = x_BTD + self.attention_post_norm(self.attention(self.attention_norm(x_BTD), reading))
        return x_BTD + self.feed_forward_post_norm(self.feed_forward(self.feed_forward_norm(x_BTD)))


class Model(LanguageModel):
    """A Gemma 3 language model; see `LanguageModel` for what it does."""

    writing = ("attention_post_norm", "feed_forward_post_norm")

    def __init__(self, config: Config) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RMSNorm(config.d_model, config.norm_eps, offset=1.0))
        self.rotaries = (config.rotary(), Rotary(config.d_head, config.window_rope_theta))

    def embed(self, tokens_BT: Tensor, reading: Reading) -> Tensor:
        return scaled(super().embed(tokens_BT, reading), self.config.d_model**0.5)


def derived_sizes(dial: Dial) -> dict[str, Any]:
    """Those of the Llama family; all but every sixth layer, and but the last of fewer, see a quarter of the context."""
    full = range(min(PATTERN, dial.n_layers) - 1, dial.n_layers, PATTERN)
    windowed_layers = tuple(layer for layer in range(dial.n_layers) if layer not in full)
    window = max(1, dial.context_length // 4)
    return modern_sizes(dial) | ({"windowed_layers": windowed_layers, "window": window} if windowed_layers else {})


MODEL_TYPES = ("gemma3_text",)


def weights(config: Config) -> WeightTable:
    """The tensors of its files."""
    return WeightTable(
        (
            llama_files.EMBEDDING,
            *llama_files.SANDWICH_NORMS,
            *llama_files.attention_rows(),
            *llama_files.HEAD_NORMS,
            *llama_files.feed_forward_rows(),
            llama_files.FINAL_NORM,
        ),
        head=llama_files.HEAD,
        prefix="model.",
    )


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model, in the spelling of transformers 5 and, beside it, of 4."""
    rope = llama_files.rope_to(config.rope_theta, config.rope_scaling)
    window_rope = llama_files.rope_to(config.window_rope_theta, None)
    both = {"full_attention": rope["rope_parameters"], "sliding_attention": window_rope["rope_parameters"]}
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        **llama_files.sizes_to(config),
        "hidden_activation": "gelu_pytorch_tanh",
        "rms_norm_eps": config.norm_eps,
        **rope,
        "rope_local_base_freq": config.window_rope_theta,
        "rope_parameters": both,
        "sliding_window": config.window or 4096,  # a number is asked for even where no layer has it
        "layer_types": layer_types(config),
        "query_pre_attn_scalar": config.query_pre_attn_scalar or config.d_head,
        "attention_bias": False,
        "attention_dropout": 0.0,
    }


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    settings = ForeignConfig({"head_dim": 256, "sliding_window": 4096} | values, without_effect="cache_implementation")
    settings.require("hidden_activation", "gelu_pytorch_tanh")
    settings.require("attention_bias", False)
    settings.require("attention_dropout", 0.0)
    sizes = llama_files.sizes_from(settings, n_kv_heads=4, tied=True)
    pattern = settings.take("sliding_window_pattern", settings.take("_sliding_window_pattern", PATTERN))
    scalar = settings.take("query_pre_attn_scalar", 256)
    more = {
        "norm_eps": settings.take("rms_norm_eps", 1e-6),
        **_rotary_from(settings, sizes),
        **windows_but_every(pattern, settings, sizes["n_layers"]),
        "query_pre_attn_scalar": None if scalar == sizes["d_head"] else scalar,
    }
    config = Config.build(sizes | more, source="config.json")
    settings.finish()
    return config


def _rotary_from(settings: ForeignConfig, sizes: dict[str, Any]) -> dict[str, Any]:
    """The two rotary bases: a new file has `rope_parameters` for each kind of layer, an old one settings beside them."""
    parts = dict(settings.take("rope_parameters", {}))
    everywhere, window = parts.pop("full_attention", None), parts.pop("sliding_attention", None)
    if parts:
        raise GroundupError(
            f"config.json asks for rope_parameters {parts}; only those of 'full_attention' and 'sliding_attention' "
            "are supported here"
        )
    old = {name: settings.take(name) for name in ("rope_theta", "rope_scaling")}
    found = llama_files.rotary_from(ForeignConfig(old | {"rope_parameters": everywhere}), sizes, theta=1e6)
    beside = {"rope_local_base_freq": settings.take("rope_local_base_freq"), "rope_parameters": window}
    near = llama_files.rotary_from(ForeignConfig(beside), sizes, theta=1e4, theta_name="rope_local_base_freq")
    if near["rope_scaling"] is not None:
        raise GroundupError("config.json asks for rope_parameters that stretch layers with a window; not supported")
    return found | {"window_rope_theta": near["rope_theta"]}
