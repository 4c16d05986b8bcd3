"""Mixtral: Mistral with eight feed-forward layers in place of each one, of which every token takes two.

Pre-norm blocks with RMSNorm, rotary positions, grouped-query attention, and mixtures of SwiGLU experts. Source: Jiang et
al. 2024, "Mixtral of Experts", section 2.
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic
from torch import Tensor, nn

from groundup.models import llama_files
from groundup.models.base import LanguageModel, Reading
from groundup.models.layers.experts import Experts
from groundup.models.layers.grouped_query import GroupedQueryAttention
from groundup.models.layers.norm import RMSNorm
from groundup.models.mixture_config import MixtureConfig, mixture_sizes
from groundup.models.sizes import Dial
from groundup.models.weights import ForeignConfig, Fused, Row, WeightTable


class Config(MixtureConfig):
    """Sizes of a Mixtral model; `d_ff` is the width of one expert."""

    architecture: Literal["mixtral"] = "mixtral"  # pyright: ignore[reportIncompatibleVariableOverride]
    norm_eps: float = pydantic.Field(1e-5, gt=0, description="added to the mean square before its root is taken")
    window: int | None = pydantic.Field(None, ge=1, description="tokens a token sees, itself among them; None: all")

    def matrix_parameters(self) -> int:
        return self.n_layers * (self.attention_parameters() + self.mixture_parameters(self.d_ff))

    def active_matrix_parameters(self) -> int:
        return self.n_layers * (self.attention_parameters() + self.active_mixture_parameters(self.d_ff))

    def vector_parameters(self) -> int:
        return self.n_layers * 2 * self.d_model + self.d_model


class Block(nn.Module):
    """Attention, then experts, each reading a normalised copy and adding to the residual stream."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = GroupedQueryAttention(config, layer, window=config.window)
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_eps)
        self.feed_forward = Experts(
            config.d_model,
            config.d_ff,
            config.n_experts,
            config.n_active_experts,
            renormalized=True,
            balance=config.balance_coefficient,
        )

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), reading)
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD), reading)


class Model(LanguageModel):
    """A Mixtral language model; see `LanguageModel` for what it does."""

    def __init__(self, config: Config) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RMSNorm(config.d_model, config.norm_eps))
        self.rotaries = (config.rotary(),)


def derived_sizes(dial: Dial) -> dict[str, Any]:
    """Eight experts, two for a token, which together compute as much as the dense layer of this size."""
    return mixture_sizes(dial, width="d_ff")


MODEL_TYPES = ("mixtral",)

_EXPERTS = "model.layers.{layer}.block_sparse_moe"


def weights(config: Config) -> WeightTable:
    """The tensors of its files, each expert by itself; w1 is the gate, w3 the other widening, w2 the way back."""
    names = {"gate": "w1", "up": "w3", "down": "w2"}
    return WeightTable(
        (
            llama_files.EMBEDDING,
            *llama_files.PRE_NORMS,
            *llama_files.attention_rows(),
            Row("blocks.{layer}.feed_forward.router.weight", f"{_EXPERTS}.gate.weight"),
            *(
                Row(
                    f"blocks.{{layer}}.feed_forward.{ours}",
                    f"{_EXPERTS}.experts.{{expert}}.{theirs}.weight",
                    n_experts=config.n_experts,
                )
                for ours, theirs in names.items()
            ),
            llama_files.FINAL_NORM,
        ),
        head=llama_files.HEAD,
        prefix="model.",
        fused=(
            Fused("model.layers.{layer}.mlp.gate.weight", (f"{_EXPERTS}.gate.weight",)),
            Fused(
                "model.layers.{layer}.mlp.experts.gate_up_proj",
                (f"{_EXPERTS}.experts.{{expert}}.w1.weight", f"{_EXPERTS}.experts.{{expert}}.w3.weight"),
            ),
            Fused("model.layers.{layer}.mlp.experts.down_proj", (f"{_EXPERTS}.experts.{{expert}}.w2.weight",)),
        ),
    )


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model."""
    return {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        **llama_files.sizes_to(config),
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        **llama_files.rotary_to(config),
        "sliding_window": config.window,
        "num_local_experts": config.n_experts,
        "num_experts_per_tok": config.n_active_experts,
        "router_aux_loss_coef": config.balance_coefficient,
        "attention_dropout": 0.0,
    }


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    settings = ForeignConfig({"num_key_value_heads": 8} | values, without_effect="output_router_logits")
    settings.require("hidden_act", "silu")
    settings.require("attention_dropout", 0.0)
    settings.require("router_jitter_noise", 0.0)
    sizes = llama_files.sizes_from(settings)
    more = {
        **llama_files.rotary_from(settings, sizes, theta=1e6),
        "norm_eps": settings.take("rms_norm_eps", 1e-5),
        "window": settings.take("sliding_window"),
        "n_experts": settings.take("num_local_experts", 8),
        "n_active_experts": settings.take("num_experts_per_tok", 2),
        "balance_coefficient": settings.take("router_aux_loss_coef", 0.001),
    }
    config = Config.build(sizes | more, source="config.json")
    settings.finish()
    return config
