"""Qwen3's mixtures of experts: Qwen3 with many narrow experts in most or all of its layers.

Pre-norm blocks with RMSNorm, rotary positions, grouped-query attention with norms on queries and keys, and mixtures of
SwiGLU experts, dense layers among them where the config says so. Source: Qwen3 Technical Report (Yang et al. 2025),
section 2; the published configs for the rest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pydantic
from torch import Tensor, nn

from groundup.models import llama_files
from groundup.models.base import LanguageModel, Reading
from groundup.models.layers.experts import Experts
from groundup.models.layers.feedforward import SwiGLU
from groundup.models.layers.grouped_query import GroupedQueryAttention
from groundup.models.layers.norm import RMSNorm
from groundup.models.mixture_config import MixtureConfig, mixture_sizes
from groundup.models.sizes import Dial
from groundup.models.weights import ForeignConfig, Fused, Row, WeightTable


class Config(MixtureConfig):
    """Sizes of a Qwen3 mixture of experts; `d_ff` is the width of its dense layers."""

    architecture: Literal["qwen3_moe"] = "qwen3_moe"  # pyright: ignore[reportIncompatibleVariableOverride]
    norm_eps: float = pydantic.Field(1e-6, gt=0, description="added to the mean square before its root is taken")
    attention_bias: bool = pydantic.Field(False, description="whether the four attention matrices have biases")
    d_expert: int = pydantic.Field(ge=1, description="width of one expert")
    renormalize_experts: bool = pydantic.Field(True, description="whether a token's shares of its experts sum to one")
    dense_layers: tuple[pydantic.NonNegativeInt, ...] = pydantic.Field(
        (), description="layers with one plain feed-forward layer, counted from 0"
    )

    @pydantic.model_validator(mode="after")
    def _dense_layers_are_there(self) -> Config:
        layers = self.dense_layers
        if list(layers) != sorted(set(layers)) or any(layer >= self.n_layers for layer in layers):
            raise ValueError(f"dense_layers {list(layers)} must be some of 0 to {self.n_layers - 1}, in order")
        return self

    def matrix_parameters(self) -> int:
        return self._matrices(self.mixture_parameters(self.d_expert))

    def active_matrix_parameters(self) -> int:
        return self._matrices(self.active_mixture_parameters(self.d_expert))

    def _matrices(self, mixture: int) -> int:
        n_dense = len(self.dense_layers)
        feed_forward = n_dense * 3 * self.d_model * self.d_ff + (self.n_layers - n_dense) * mixture
        return self.n_layers * self.attention_parameters() + feed_forward

    def vector_parameters(self) -> int:
        biases = self.d_head * (self.n_heads + 2 * self.n_kv_heads) + self.d_model if self.attention_bias else 0
        return self.n_layers * (2 * (self.d_model + self.d_head) + biases) + self.d_model


class Block(nn.Module):
    """Attention, then experts or a dense layer, each reading a normalised copy and adding to the residual stream."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = GroupedQueryAttention(
            config,
            layer,
            bias=config.attention_bias,
            output_bias=config.attention_bias,
            norm=lambda width: RMSNorm(width, config.norm_eps),
        )
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_eps)
        if layer in config.dense_layers:
            self.feed_forward = SwiGLU(config.d_model, config.d_ff)
        else:
            self.feed_forward = Experts(
                config.d_model,
                config.d_expert,
                config.n_experts,
                config.n_active_experts,
                renormalized=config.renormalize_experts,
                balance=config.balance_coefficient,
            )

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), reading)
        normed_BTD = self.feed_forward_norm(x_BTD)
        if isinstance(self.feed_forward, Experts):
            return x_BTD + self.feed_forward(normed_BTD, reading)
        return x_BTD + self.feed_forward(normed_BTD)


class Model(LanguageModel):
    """A Qwen3 mixture of experts; see `LanguageModel` for what it does."""

    def __init__(self, config: Config) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RMSNorm(config.d_model, config.norm_eps))
        self.rotaries = (config.rotary(),)


def derived_sizes(dial: Dial) -> dict[str, Any]:
    """Eight experts, two for a token, which together compute as much as the dense layer of this size."""
    return mixture_sizes(dial, width="d_expert")


MODEL_TYPES = ("qwen3_moe",)

_FEED_FORWARD = "model.layers.{layer}.mlp"


def _expert(name: str) -> str:
    return f"{_FEED_FORWARD}.experts.{{expert}}.{name}_proj.weight"


def weights(config: Config) -> WeightTable:
    """The tensors of its files, each expert by itself."""
    mixed = tuple(layer for layer in range(config.n_layers) if layer not in config.dense_layers)
    router = Row("blocks.{layer}.feed_forward.router.weight", f"{_FEED_FORWARD}.gate.weight", layers=mixed)
    experts = [
        Row(
            f"blocks.{{layer}}.feed_forward.{name}",
            _expert(name),
            layers=mixed,
            n_experts=config.n_experts,
        )
        for name in ("gate", "up", "down")
    ]
    dense = [replace(row, layers=config.dense_layers) for row in llama_files.feed_forward_rows()]
    return WeightTable(
        (
            llama_files.EMBEDDING,
            *llama_files.PRE_NORMS,
            *llama_files.attention_rows(bias=config.attention_bias, output_bias=config.attention_bias),
            *llama_files.HEAD_NORMS,
            router,
            *experts,
            *dense,
            llama_files.FINAL_NORM,
        ),
        head=llama_files.HEAD,
        prefix="model.",
        fused=(
            Fused(f"{_FEED_FORWARD}.experts.gate_up_proj", (_expert("gate"), _expert("up"))),
            Fused(f"{_FEED_FORWARD}.experts.down_proj", (_expert("down"),)),
        ),
    )


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model."""
    return {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        **llama_files.sizes_to(config),
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        **llama_files.rotary_to(config),
        "num_experts": config.n_experts,
        "num_experts_per_tok": config.n_active_experts,
        "moe_intermediate_size": config.d_expert,
        "norm_topk_prob": config.renormalize_experts,
        "mlp_only_layers": list(config.dense_layers),
        "decoder_sparse_step": 1,
        "router_aux_loss_coef": config.balance_coefficient,
        "attention_bias": config.attention_bias,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
    }


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    # The window's settings say nothing unless use_sliding_window is on, which is refused.
    settings = ForeignConfig(
        {"num_key_value_heads": 4} | values,
        without_effect="output_router_logits sliding_window max_window_layers",
    )
    settings.require("hidden_act", "silu")
    settings.require("attention_dropout", 0.0)
    settings.require("use_sliding_window", False)
    sizes = llama_files.sizes_from(settings)
    n_experts = settings.take("num_experts")
    every, dense = settings.take("decoder_sparse_step", 1), settings.take("mlp_only_layers", [])
    more = {
        **llama_files.rotary_from(settings, sizes),
        "norm_eps": settings.take("rms_norm_eps", 1e-6),
        "attention_bias": settings.take("attention_bias", False),
        "n_experts": settings.take("num_local_experts", n_experts or 128),  # as transformers 5 calls them too
        "n_active_experts": settings.take("num_experts_per_tok", 8),
        "d_expert": settings.take("moe_intermediate_size", 768),
        "renormalize_experts": settings.take("norm_topk_prob", False),
        "dense_layers": tuple(i for i in range(sizes["n_layers"]) if i in dense or (i + 1) % every),
        "balance_coefficient": settings.take("router_aux_loss_coef", 0.001),
    }
    config = Config.build(sizes | more, source="config.json")
    settings.finish()
    return config
