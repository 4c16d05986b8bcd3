"""Qwen3: the modern form of the decoder, and the default here, since its files open in every common tool.

Pre-norm blocks with RMSNorm, rotary positions, SwiGLU, grouped-query attention, no biases; queries and keys are
normalised a head before they are rotated (QK-norm: Henry et al. 2020; Dehghani et al. 2023, section 2), which bounds
the attention scores and lets training take large steps. Source: Qwen3 Technical Report (Yang et al. 2025), section 2.

Shapes: B batch, T tokens, H heads, G key-value heads, K d_head, D d_model.
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic
import torch
from torch import Tensor, nn

from groundup.core.errors import GroundupError
from groundup.models.base import LanguageModel, ModelConfig, Reading
from groundup.models.layers.attention import Attend
from groundup.models.layers.embedding import Embedding
from groundup.models.layers.feedforward import SwiGLU
from groundup.models.layers.linear import Linear, fill_normal
from groundup.models.layers.norm import RMSNorm
from groundup.models.layers.position import rotary_angles, rotate
from groundup.models.state import DecodeState
from groundup.models.weights import ForeignConfig, Row, WeightTable, eos_ids, eos_value


class Config(ModelConfig):
    """Sizes of a Qwen3 model."""

    architecture: Literal["qwen3"] = "qwen3"  # pyright: ignore[reportIncompatibleVariableOverride]
    norm_eps: float = pydantic.Field(1e-6, gt=0, description="added to the mean square before its root is taken")
    rope_theta: float = pydantic.Field(10_000.0, gt=0, description="base of the rotary wavelengths, in tokens")

    @pydantic.model_validator(mode="after")
    def _head_has_pairs(self) -> Config:
        if self.d_head % 2:
            raise ValueError(f"d_head {self.d_head} is odd; rotary positions turn pairs of numbers, so it must be even")
        return self

    def matrix_parameters(self) -> int:
        attention = 2 * self.d_model * self.d_head * (self.n_heads + self.n_kv_heads)
        return self.n_layers * (attention + 3 * self.d_model * self.d_ff)

    def vector_parameters(self) -> int:
        return self.n_layers * 2 * (self.d_model + self.d_head) + self.d_model


class Attention(nn.Module):
    """Grouped-query attention with normalised, rotated queries and keys."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.layer, self.d_head = layer, config.d_head
        self.query = Linear(config.d_model, config.n_heads * config.d_head)
        self.key = Linear(config.d_model, config.n_kv_heads * config.d_head)
        self.value = Linear(config.d_model, config.n_kv_heads * config.d_head)
        self.output = Linear(config.n_heads * config.d_head, config.d_model)
        self.query_norm = RMSNorm(config.d_head, config.norm_eps)
        self.key_norm = RMSNorm(config.d_head, config.norm_eps)
        self.attend = Attend()

    def forward(self, x_BTD: Tensor, angles: tuple[Tensor, Tensor], reading: Reading) -> Tensor:
        heads = (*x_BTD.shape[:2], -1, self.d_head)
        q_BHTK = rotate(self.query_norm(self.query(x_BTD).view(heads)), angles).transpose(1, 2)
        k_BGTK = rotate(self.key_norm(self.key(x_BTD).view(heads)), angles).transpose(1, 2)
        v_BGTK = self.value(x_BTD).view(heads).transpose(1, 2)
        if reading.state is not None:
            k_BGTK, v_BGTK = reading.state.append(self.layer, k_BGTK, v_BGTK)
        out_BHTK = self.attend(q_BHTK, k_BGTK, v_BGTK, reading.mask)
        return self.output(out_BHTK.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then feed-forward, each reading a normalised copy and adding to the residual stream."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = Attention(config, layer)
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_eps)
        self.feed_forward = SwiGLU(config.d_model, config.d_ff)

    def forward(self, x_BTD: Tensor, angles: tuple[Tensor, Tensor], reading: Reading) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), angles, reading)
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))


class Model(LanguageModel):
    """A Qwen3 language model; see `LanguageModel` for what it does."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.token_embedding = Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.final_norm = RMSNorm(config.d_model, config.norm_eps)
        self.head = None if config.tie_embeddings else Linear(config.d_model, config.vocab_size)

    def trunk(
        self, tokens_BT: Tensor, state: DecodeState | None = None, document_ids_BT: Tensor | None = None
    ) -> Tensor:
        reading = self.read(tokens_BT, state, document_ids_BT)
        angles = rotary_angles(reading.positions_BT, self.config.d_head, self.config.rope_theta)
        hidden_BTD = self.token_embedding(tokens_BT).to(self.compute_dtype)
        for block in self.blocks:
            hidden_BTD = block(hidden_BTD, angles, reading)
        if state is not None:
            state.advance(tokens_BT.shape[1])
        return self.final_norm(hidden_BTD)

    def initialize(self, seed: int) -> None:
        """Fill the weights so that the model begins as no more than its embedding and learns fast from there.

        - Matrices that read the residual stream: standard deviation 1/sqrt(n_in), which keeps the scale of what
          passes through them (LeCun et al. 1998, "Efficient BackProp", section 4.6).
        - Matrices that write into it (attention output, feed-forward down): zero. Every block begins as the
          identity, so depth does not disturb the first steps (Zhang et al. 2019, "Fixup"; Yang et al. 2022, "Tensor
          Programs V", appendix D.2; both modded-nanogpt and nanochat found it faster).
        - Untied: embedding rows of standard deviation 1, the scale that blocks will write at; a head so small (0.001,
          as in nanochat) that all tokens begin equally likely and the loss at ln V.
        - Tied: embedding rows of length 1 and a final norm of gain 1/sqrt(d_model), so that the first logits are
          the cosines of a token's row with all rows. A larger scale would make each token predict itself.
        - Norms: one.
        """
        generator, width = torch.Generator().manual_seed(seed), self.config.d_model
        written = tuple(f"blocks.{i}.{part}.weight" for i in range(self.config.n_layers) for part in WRITING)
        for role, parameters in self.parameter_roles().items():
            for name, parameter in parameters:
                if role == "matrices" and name not in written:
                    fill_normal(parameter, parameter.shape[1] ** -0.5, generator)
                elif role == "embedding":
                    fill_normal(parameter, width**-0.5 if self.config.tie_embeddings else 1.0, generator)
                elif role == "head":
                    fill_normal(parameter, 0.001, generator)
                else:
                    nn.init.constant_(parameter, 1.0 if role == "vectors" else 0.0)
        if self.config.tie_embeddings:
            nn.init.constant_(self.final_norm.weight, width**-0.5)


def derived_sizes(n_layers: int, d_model: int, n_heads: int, vocab_size: int, context_length: int) -> dict[str, Any]:
    """The sizes that follow from depth, width and heads; see sizes.py."""
    # Three matrices of 8/3 d_model have the parameters of two of 4 d_model (Shazeer 2020, section 2).
    d_ff = max(64, 64 * round(8 * d_model / 3 / 64))
    return {
        "d_ff": d_ff,
        # Sharing key-value heads saves decode memory and costs a little quality (Ainslie et al. 2023, section 3): up
        # to 12 layers that memory is small anyway; beyond, two heads share one, as in Qwen3 0.6B.
        "n_kv_heads": n_heads // 2 if n_layers > 12 and n_heads % 2 == 0 else n_heads,
        # A head of its own costs memory but no arithmetic, and learns faster (modded-nanogpt and nanochat untie; not
        # measured here). It is tied once it would hold more than the blocks, where sharing saves most (Press and
        # Wolf 2017; MobileLLM, Liu et al. 2024, section 2.2).
        "tie_embeddings": vocab_size * d_model > n_layers * d_model * (4 * d_model + 3 * d_ff),
        # Su et al. 2021, section 3.4.3; long contexts need longer waves (Xiong et al. 2023, section 2.1): Qwen3's.
        "rope_theta": 10_000.0 if context_length <= 4096 else 1_000_000.0,
    }


WRITING = ("attention.output", "feed_forward.down")

WEIGHTS = WeightTable(
    rows=(
        Row("token_embedding.weight", "model.embed_tokens.weight"),
        Row("blocks.{layer}.attention_norm.weight", "model.layers.{layer}.input_layernorm.weight"),
        Row("blocks.{layer}.attention.query.weight", "model.layers.{layer}.self_attn.q_proj.weight"),
        Row("blocks.{layer}.attention.key.weight", "model.layers.{layer}.self_attn.k_proj.weight"),
        Row("blocks.{layer}.attention.value.weight", "model.layers.{layer}.self_attn.v_proj.weight"),
        Row("blocks.{layer}.attention.output.weight", "model.layers.{layer}.self_attn.o_proj.weight"),
        Row("blocks.{layer}.attention.query_norm.weight", "model.layers.{layer}.self_attn.q_norm.weight"),
        Row("blocks.{layer}.attention.key_norm.weight", "model.layers.{layer}.self_attn.k_norm.weight"),
        Row("blocks.{layer}.feed_forward_norm.weight", "model.layers.{layer}.post_attention_layernorm.weight"),
        Row("blocks.{layer}.feed_forward.gate.weight", "model.layers.{layer}.mlp.gate_proj.weight"),
        Row("blocks.{layer}.feed_forward.up.weight", "model.layers.{layer}.mlp.up_proj.weight"),
        Row("blocks.{layer}.feed_forward.down.weight", "model.layers.{layer}.mlp.down_proj.weight"),
        Row("final_norm.weight", "model.norm.weight"),
    ),
    head=Row("head.weight", "lm_head.weight"),
    prefix="model.",
)


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model, readable by transformers 4.51 (`rope_theta`) and 5 (`rope_parameters`)."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.d_head,
        "intermediate_size": config.d_ff,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": config.bos_id,
        "eos_token_id": eos_value(config.eos_ids),
        "pad_token_id": config.pad_id,
    }


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    # The window's settings say nothing unless use_sliding_window is on, which is refused.
    settings = ForeignConfig(values, without_effect="sliding_window max_window_layers")
    settings.require("hidden_act", "silu")
    settings.require("attention_bias", False)
    settings.require("attention_dropout", 0.0)
    settings.require("use_sliding_window", False)
    if other := set(settings.take("layer_types", [])) - {"full_attention"}:
        raise GroundupError(
            f"config.json asks for layer_types {sorted(other)}; only 'full_attention' is supported here"
        )
    n_heads = settings.take("num_attention_heads", ...)
    config = Config.build(
        {
            "vocab_size": settings.take("vocab_size", ...),
            "context_length": settings.take("max_position_embeddings", ...),
            "d_model": settings.take("hidden_size", ...),
            "n_layers": settings.take("num_hidden_layers", ...),
            "n_heads": n_heads,
            "n_kv_heads": settings.take("num_key_value_heads", n_heads),
            "d_head": settings.take("head_dim", 128),
            "d_ff": settings.take("intermediate_size", ...),
            "tie_embeddings": settings.take("tie_word_embeddings", False),
            "norm_eps": settings.take("rms_norm_eps", 1e-6),
            "rope_theta": _rope_theta(settings),
            "bos_id": settings.take("bos_token_id"),
            "eos_ids": eos_ids(settings.take("eos_token_id")),
            "pad_id": settings.take("pad_token_id"),
        },
        source="config.json",
    )
    settings.finish()
    return config


def _rope_theta(settings: ForeignConfig) -> float:
    """The rotary base from a new file's `rope_parameters` or an old one's `rope_theta`; scaled kinds are refused."""
    theta = settings.take("rope_theta", 10_000.0)
    for name in ("rope_scaling", "rope_parameters"):
        rope = dict(settings.take(name, {}))
        kind = rope.pop("rope_type", rope.pop("type", "default"))
        theta = rope.pop("rope_theta", theta)
        if kind != "default" or rope.pop("partial_rotary_factor", 1.0) != 1.0:
            raise GroundupError(
                f"config.json asks for {name} of type {kind!r}; only plain rotary positions are supported"
            )
    return theta
