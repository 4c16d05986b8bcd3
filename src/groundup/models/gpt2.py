"""GPT-2: the classic decoder, and the one most textbooks explain.

Token plus learned position embeddings, pre-norm blocks with LayerNorm, one matrix for queries, keys and values, GELU,
biases everywhere, dropout, a head tied to the token embedding. Source: Radford et al. 2019, "Language Models are
Unsupervised Multitask Learners", section 2.3, on Radford et al. 2018, section 4.1.

Shapes: B batch, T tokens, H heads, K d_head, D d_model.
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.core.errors import GroundupError
from groundup.models.base import AttentionConfig, LanguageModel, Reading
from groundup.models.layers.attention import Attend
from groundup.models.layers.embedding import Embedding
from groundup.models.layers.feedforward import FeedForward
from groundup.models.layers.linear import Linear, fill_normal
from groundup.models.layers.norm import LayerNorm
from groundup.models.sizes import Dial
from groundup.models.weights import ForeignConfig, Row, WeightTable, eos_ids, eos_value


class Config(AttentionConfig):
    """Sizes of a GPT-2 model."""

    architecture: Literal["gpt2"] = "gpt2"  # pyright: ignore[reportIncompatibleVariableOverride]
    tie_embeddings: bool = pydantic.Field(True, description="whether the head reuses the token embedding's weights")
    norm_eps: float = pydantic.Field(1e-5, gt=0, description="added to the variance before its root is taken")
    dropout: float = pydantic.Field(0.0, ge=0, lt=1, description="probability of dropping a number while training")

    @pydantic.model_validator(mode="after")
    def _heads_fill_the_width(self) -> Config:
        self.check_heads_fill_the_width()
        return self

    def matrix_parameters(self) -> int:
        return self.n_layers * (4 * self.d_model**2 + 2 * self.d_model * self.d_ff)

    def vector_parameters(self) -> int:
        norms_and_biases = 4 * self.d_model + 4 * self.d_model + self.d_ff + self.d_model
        return self.n_layers * norms_and_biases + 2 * self.d_model

    def table_parameters(self) -> int:
        return super().table_parameters() + self.context_length * self.d_model


class Attention(nn.Module):
    """Multi-head attention with one matrix for queries, keys and values."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.layer, self.d_head, self.dropout = layer, config.d_head, config.dropout
        self.query_key_value = Linear(config.d_model, 3 * config.d_model, bias=True)
        self.output = Linear(config.d_model, config.d_model, bias=True)
        self.attend = Attend()

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        heads = self.query_key_value(x_BTD).view(*x_BTD.shape[:2], 3, -1, self.d_head)
        q_BHTK, k_BHTK, v_BHTK = (part.transpose(1, 2) for part in heads.unbind(2))
        k_BHTK, v_BHTK = reading.keys_and_values(self.layer, k_BHTK, v_BHTK)
        dropout = self.dropout if self.training else 0.0
        out_BHTK = self.attend(q_BHTK, k_BHTK, v_BHTK, reading.mask, dropout)
        return self.output(out_BHTK.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then feed-forward, each reading a normalised copy and adding to the residual stream."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(config.d_model, config.norm_eps)
        self.attention = Attention(config, layer)
        self.feed_forward_norm = LayerNorm(config.d_model, config.norm_eps)
        self.feed_forward = FeedForward(config.d_model, config.d_ff)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        x_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), reading))
        return x_BTD + self.dropout(self.feed_forward(self.feed_forward_norm(x_BTD)))


class Model(LanguageModel):
    """A GPT-2 language model; see `LanguageModel` for what it does."""

    config: Config
    # Rows that begin at 0.02 are soon lost in steps made for rows of length 1 (docs/log.md: the loss at rates of 0.3, 0.1,
    # 0.03 and 0.01 was 3.874, 3.661, 3.600 and 3.610).
    embedding_pace = 0.1

    def __init__(self, config: Config) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, LayerNorm(config.d_model, config.norm_eps))
        self.position_embedding = Embedding(config.context_length, config.d_model)

    def embed(self, tokens_BT: Tensor, reading: Reading) -> Tensor:
        hidden_BTD = self.token_embedding(tokens_BT) + self.position_embedding(reading.positions_BT)
        return F.dropout(hidden_BTD.to(self.compute_dtype), self.config.dropout, self.training)

    def initialize(self, seed: int) -> None:
        """Fill the weights as GPT-2 did (Radford et al. 2018, section 4.1; 2019, section 2.3).

        Everything 0.02, small enough that the tied head begins with nearly equal chances; matrices that write into
        the residual stream 0.02/sqrt(2 L), since 2 L of them add up and their sum should not grow with depth; biases
        zero, norms one.
        """
        generator, config = torch.Generator().manual_seed(seed), self.config
        written = tuple(f"blocks.{i}.{part}.weight" for i in range(config.n_layers) for part in self.writing)
        for role, parameters in self.parameter_roles().items():
            for name, parameter in parameters:
                if role == "vectors":
                    nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
                else:
                    fill_normal(parameter, 0.02 / (2 * config.n_layers) ** 0.5 if name in written else 0.02, generator)


def derived_sizes(dial: Dial) -> dict[str, Any]:
    """The sizes that follow from depth, width and heads; see sizes.py."""
    # The feed-forward layer is four times as wide as the model, as in Vaswani et al. 2017, section 3.3.
    return {"d_ff": 4 * dial.d_model, "n_kv_heads": dial.n_heads, "tie_embeddings": True}


MODEL_TYPES = ("gpt2",)

_WEIGHTS = WeightTable(
    rows=(
        Row("token_embedding.weight", "transformer.wte.weight"),
        Row("position_embedding.weight", "transformer.wpe.weight"),
        Row("blocks.{layer}.attention_norm.weight", "transformer.h.{layer}.ln_1.weight"),
        Row("blocks.{layer}.attention_norm.bias", "transformer.h.{layer}.ln_1.bias"),
        Row("blocks.{layer}.attention.query_key_value.weight", "transformer.h.{layer}.attn.c_attn.weight", True),
        Row("blocks.{layer}.attention.query_key_value.bias", "transformer.h.{layer}.attn.c_attn.bias"),
        Row("blocks.{layer}.attention.output.weight", "transformer.h.{layer}.attn.c_proj.weight", True),
        Row("blocks.{layer}.attention.output.bias", "transformer.h.{layer}.attn.c_proj.bias"),
        Row("blocks.{layer}.feed_forward_norm.weight", "transformer.h.{layer}.ln_2.weight"),
        Row("blocks.{layer}.feed_forward_norm.bias", "transformer.h.{layer}.ln_2.bias"),
        Row("blocks.{layer}.feed_forward.up.weight", "transformer.h.{layer}.mlp.c_fc.weight", True),
        Row("blocks.{layer}.feed_forward.up.bias", "transformer.h.{layer}.mlp.c_fc.bias"),
        Row("blocks.{layer}.feed_forward.down.weight", "transformer.h.{layer}.mlp.c_proj.weight", True),
        Row("blocks.{layer}.feed_forward.down.bias", "transformer.h.{layer}.mlp.c_proj.bias"),
        Row("final_norm.weight", "transformer.ln_f.weight"),
        Row("final_norm.bias", "transformer.ln_f.bias"),
    ),
    head=Row("head.weight", "lm_head.weight"),
    prefix="transformer.",
    # The causal mask that files of 2019 carry beside the weights.
    ignored=r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)",
)


def weights(config: Config) -> WeightTable:
    """The tensors of its files."""
    return _WEIGHTS


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_positions": config.context_length,
        "n_embd": config.d_model,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": config.d_ff,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.norm_eps,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": config.bos_id,
        "eos_token_id": eos_value(config.eos_ids),
        "pad_token_id": config.pad_id,
    }


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    settings = ForeignConfig(values, without_effect=SUMMARY_SETTINGS)
    # Both names mean the tanh approximation of GELU.
    settings.require("activation_function", "gelu_new", "gelu_pytorch_tanh")
    settings.require("scale_attn_weights", True)
    settings.require("scale_attn_by_inverse_layer_idx", False)
    settings.require("reorder_and_upcast_attn", False)
    settings.require("add_cross_attention", False)
    dropout = settings.take_equal(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.1)
    d_model, n_heads = settings.take("n_embd", 768), settings.take("n_head", 12)
    context_length = settings.take("n_positions", 1024)
    settings.require("n_ctx", context_length)
    if d_model % n_heads:
        raise GroundupError(f"config.json: n_embd {d_model} is not a multiple of n_head {n_heads}")
    config = Config.build(
        {
            "vocab_size": settings.take("vocab_size", 50257),
            "context_length": context_length,
            "d_model": d_model,
            "n_layers": settings.take("n_layer", 12),
            "n_heads": n_heads,
            "n_kv_heads": n_heads,
            "d_head": d_model // n_heads,
            "d_ff": settings.take("n_inner", 4 * d_model),
            "tie_embeddings": settings.take("tie_word_embeddings", True),
            "norm_eps": settings.take("layer_norm_epsilon", 1e-5),
            "dropout": dropout,
            "bos_id": settings.take("bos_token_id"),
            "eos_ids": eos_ids(settings.take("eos_token_id")),
            "pad_id": settings.take("pad_token_id"),
        },
        source="config.json",
    )
    settings.finish()
    return config


# The classification head of another class of the same family; a language model has none.
SUMMARY_SETTINGS = "summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout"
