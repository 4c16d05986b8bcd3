"""Phi-3 and what followed it (Phi-3.5, Phi-4 and Phi-4-mini): Llama's blocks with fused matrices.

Pre-norm blocks with RMSNorm, rotary positions, SwiGLU, grouped-query attention, no biases. One matrix makes queries, keys
and values, one makes gate and up. Long contexts come by stretched positions (layers/rope_scaling.py, longrope); Phi-4-mini
turns three quarters of each head. Sources: Abdin et al. 2024, "Phi-3 Technical Report", section 2; Microsoft 2025,
"Phi-4-Mini Technical Report", section 2.
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.models import llama_files
from groundup.models.base import LanguageModel, Reading
from groundup.models.layers.feedforward import FusedSwiGLU
from groundup.models.layers.grouped_query import GroupedQueryAttention
from groundup.models.layers.norm import RMSNorm
from groundup.models.rotary_config import PartlyRotaryConfig
from groundup.models.sizes import modern_sizes
from groundup.models.weights import ForeignConfig, Row, WeightTable


class Config(PartlyRotaryConfig):
    """Sizes of a Phi-3 model."""

    architecture: Literal["phi3"] = "phi3"  # pyright: ignore[reportIncompatibleVariableOverride]
    norm_eps: float = pydantic.Field(1e-5, gt=0, description="added to the mean square before its root is taken")
    window: int | None = pydantic.Field(None, ge=1, description="tokens a token sees, itself among them; None: all")
    dropout: float = pydantic.Field(0.0, ge=0, lt=1, description="probability of dropping a number while training")

    @pydantic.model_validator(mode="after")
    def _has_a_format(self) -> Config:
        if self.n_heads * self.d_head != self.d_model:
            raise ValueError(
                f"n_heads {self.n_heads} x d_head {self.d_head} = {self.n_heads * self.d_head} must equal "
                f"d_model {self.d_model} in phi3, whose files do not state the width of a head"
            )
        if self.rope_scaling is not None and self.rope_scaling.kind != "longrope":
            raise ValueError(f"rope_scaling is of kind {self.rope_scaling.kind}; the files of phi3 know longrope only")
        return self

    def matrix_parameters(self) -> int:
        return self.n_layers * (self.attention_parameters() + 3 * self.d_model * self.d_ff)

    def vector_parameters(self) -> int:
        return (2 * self.n_layers + 1) * self.d_model


class Block(nn.Module):
    """Attention, then feed-forward, each reading a normalised copy and adding to the residual stream."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = GroupedQueryAttention(config, layer, window=config.window, dropout=config.dropout, fused=True)
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_eps)
        self.feed_forward = FusedSwiGLU(config.d_model, config.d_ff)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        x_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), reading))
        return x_BTD + self.dropout(self.feed_forward(self.feed_forward_norm(x_BTD)))


class Model(LanguageModel):
    """A Phi-3 language model; see `LanguageModel` for what it does."""

    config: Config

    def __init__(self, config: Config) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RMSNorm(config.d_model, config.norm_eps))
        self.rotaries = (config.rotary(),)

    def embed(self, tokens_BT: Tensor, reading: Reading) -> Tensor:
        return F.dropout(super().embed(tokens_BT, reading), self.config.dropout, self.training)


derived_sizes = modern_sizes

MODEL_TYPES = ("phi3",)

_WEIGHTS = WeightTable(
    (
        llama_files.EMBEDDING,
        *llama_files.PRE_NORMS,
        Row("blocks.{layer}.attention.query_key_value.weight", "model.layers.{layer}.self_attn.qkv_proj.weight"),
        Row("blocks.{layer}.attention.output.weight", "model.layers.{layer}.self_attn.o_proj.weight"),
        Row("blocks.{layer}.feed_forward.gate_up.weight", "model.layers.{layer}.mlp.gate_up_proj.weight"),
        Row("blocks.{layer}.feed_forward.down.weight", "model.layers.{layer}.mlp.down_proj.weight"),
        llama_files.FINAL_NORM,
    ),
    head=llama_files.HEAD,
    prefix="model.",
    ignored=llama_files.FREQUENCIES,
)


def weights(config: Config) -> WeightTable:
    """The tensors of its files."""
    return _WEIGHTS


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model."""
    scaling, original = config.rope_scaling, config.context_length
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta}}
    if scaling is not None:
        assert scaling.original_context_length is not None
        original = scaling.original_context_length
        if scaling.attention_factor is None and scaling.factor == config.context_length / original:
            # As Microsoft's own files have it: older tools accept these three settings and no other.
            factors = {"short_factor": list(scaling.short_factor), "long_factor": list(scaling.long_factor)}
            rope = {"rope_scaling": {"type": "longrope"} | factors}
        else:
            rope = {"rope_parameters": llama_files.rope_to(config.rope_theta, scaling)["rope_parameters"]}
    return {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        **llama_files.sizes_to(config),
        "original_max_position_embeddings": original,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "partial_rotary_factor": config.rotary_share,
        **rope,
        "sliding_window": config.window,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attention_dropout": config.dropout,
    }


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    settings = ForeignConfig(values)
    settings.require("hidden_act", "silu")
    # Of larger models of the family, which never became part of this format.
    settings.require("full_attn_mod", 1)
    settings.require("interpolate_factor", 1)
    sizes = llama_files.sizes_from(settings)
    more = llama_files.rotary_from(settings, sizes, share=1.0, original=4096) | {
        "norm_eps": settings.take("rms_norm_eps", 1e-5),
        "window": settings.take("sliding_window"),
        "dropout": settings.take_equal(("resid_pdrop", "embd_pdrop", "attention_dropout"), 0.0),
    }
    config = Config.build(sizes | more, source="config.json")
    settings.finish()
    return config
