"""GPT-NeoX, the model behind Pythia: attention and feed-forward side by side.

Both read the same residual stream, each through a LayerNorm of its own, and add to it together (`parallel`; one after the
other without it). One matrix makes queries, keys and values, head by head; a part of each head turns by its position; exact
GELU, biases nearly everywhere, a head of its own. Sources: Black et al. 2022, "GPT-NeoX-20B", section 2.1; Biderman et
al. 2023, "Pythia", section 2.2.

Shapes: B batch, T tokens, H heads, K d_head, D d_model.
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.models import llama_files
from groundup.models.base import LanguageModel, Reading
from groundup.models.layers.attention import Attend
from groundup.models.layers.feedforward import FeedForward, exact_gelu
from groundup.models.layers.linear import Linear
from groundup.models.layers.norm import LayerNorm
from groundup.models.layers.position import rotate
from groundup.models.rotary_config import PartlyRotaryConfig
from groundup.models.sizes import Dial
from groundup.models.weights import ForeignConfig, Row, WeightTable


class Config(PartlyRotaryConfig):
    """Sizes of a GPT-NeoX model."""

    architecture: Literal["gpt_neox"] = "gpt_neox"  # pyright: ignore[reportIncompatibleVariableOverride]
    norm_eps: float = pydantic.Field(1e-5, gt=0, description="added to the variance before its root is taken")
    rotary_share: float = pydantic.Field(0.25, gt=0, le=1, description="share of a head's numbers that turn")
    parallel: bool = pydantic.Field(True, description="whether attention and feed-forward read the same stream")
    attention_bias: bool = pydantic.Field(True, description="whether the attention matrices have biases")
    dropout: float = pydantic.Field(0.0, ge=0, lt=1, description="probability of dropping a number while training")

    @pydantic.model_validator(mode="after")
    def _heads_fill_the_width(self) -> Config:
        self.check_heads_fill_the_width()
        return self

    def matrix_parameters(self) -> int:
        return self.n_layers * (4 * self.d_model**2 + 2 * self.d_model * self.d_ff)

    def vector_parameters(self) -> int:
        norms, feed_forward = 4 * self.d_model, self.d_ff + self.d_model
        attention = 4 * self.d_model if self.attention_bias else 0
        return self.n_layers * (norms + attention + feed_forward) + 2 * self.d_model


class Attention(nn.Module):
    """Multi-head attention with one matrix for queries, keys and values: a head's three lie side by side."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.layer, self.d_head, self.dropout = layer, config.d_head, config.dropout
        self.query_key_value = Linear(config.d_model, 3 * config.d_model, config.attention_bias)
        self.output = Linear(config.d_model, config.d_model, config.attention_bias)
        self.attend = Attend()

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        heads = self.query_key_value(x_BTD).unflatten(-1, (-1, 3, self.d_head))
        q_BTHK, k_BTHK, v_BTHK = heads.unbind(3)
        q_BHTK, k_BHTK = (rotate(part, reading.angles[0]).transpose(1, 2) for part in (q_BTHK, k_BTHK))
        k_BHTK, v_BHTK = reading.keys_and_values(self.layer, k_BHTK, v_BTHK.transpose(1, 2))
        dropout = self.dropout if self.training else 0.0
        out_BHTK = self.attend(q_BHTK, k_BHTK, v_BHTK, reading.mask, dropout)
        return self.output(out_BHTK.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and feed-forward, each reading a normalised copy of the same stream, or one after the other."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.parallel = config.parallel
        self.attention_norm = LayerNorm(config.d_model, config.norm_eps)
        self.attention = Attention(config, layer)
        self.feed_forward_norm = LayerNorm(config.d_model, config.norm_eps)
        self.feed_forward = FeedForward(config.d_model, config.d_ff, exact_gelu)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        seen_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), reading))
        read_BTD = x_BTD if self.parallel else seen_BTD
        return seen_BTD + self.dropout(self.feed_forward(self.feed_forward_norm(read_BTD)))


class Model(LanguageModel):
    """A GPT-NeoX language model; see `LanguageModel` for what it does."""

    config: Config

    def __init__(self, config: Config) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, LayerNorm(config.d_model, config.norm_eps))
        self.rotaries = (config.rotary(),)

    def embed(self, tokens_BT: Tensor, reading: Reading) -> Tensor:
        return F.dropout(super().embed(tokens_BT, reading), self.config.dropout, self.training)


def derived_sizes(dial: Dial) -> dict[str, Any]:
    """The sizes that follow from depth, width and heads, as Pythia has them; see sizes.py."""
    return {"d_ff": 4 * dial.d_model, "n_kv_heads": dial.n_heads, "tie_embeddings": False}


MODEL_TYPES = ("gpt_neox",)

_OURS, _LAYER = "blocks.{layer}", "gpt_neox.layers.{layer}"


def weights(config: Config) -> WeightTable:
    """The tensors of its files."""
    both = ("weight", "bias")
    attention = both if config.attention_bias else ("weight",)
    parts = [
        ("attention_norm", "input_layernorm", both),
        ("attention.query_key_value", "attention.query_key_value", attention),
        ("attention.output", "attention.dense", attention),
        ("feed_forward_norm", "post_attention_layernorm", both),
        ("feed_forward.up", "mlp.dense_h_to_4h", both),
        ("feed_forward.down", "mlp.dense_4h_to_h", both),
    ]
    return WeightTable(
        (
            Row("token_embedding.weight", "gpt_neox.embed_in.weight"),
            *(Row(f"{_OURS}.{ours}.{end}", f"{_LAYER}.{theirs}.{end}") for ours, theirs, ends in parts for end in ends),
            Row("final_norm.weight", "gpt_neox.final_layer_norm.weight"),
            Row("final_norm.bias", "gpt_neox.final_layer_norm.bias"),
        ),
        head=Row("head.weight", "embed_out.weight"),
        prefix="gpt_neox.",
        # The causal mask and the frequencies that files before 2024 carry.
        ignored=r"(gpt_neox\.)?layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",
    )


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model."""
    values = llama_files.sizes_to(config) | llama_files.rotary_to(config)
    for name in ("num_key_value_heads", "head_dim", "rope_theta"):
        del values[name]
    values["rope_parameters"] |= {"partial_rotary_factor": config.rotary_share}
    if "rope_scaling" in values:  # read instead of rope_parameters where it is there, so it holds the same
        values["rope_scaling"] = values["rope_parameters"]
    return {
        "architectures": ["GPTNeoXForCausalLM"],
        "model_type": "gpt_neox",
        **values,
        "rotary_emb_base": config.rope_theta,
        "rotary_pct": config.rotary_share,
        "hidden_act": "gelu",
        "layer_norm_eps": config.norm_eps,
        "use_parallel_residual": config.parallel,
        "attention_bias": config.attention_bias,
        "attention_dropout": config.dropout,
        "hidden_dropout": config.dropout,
    }


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    settings = ForeignConfig(values, without_effect="classifier_dropout is_decoder")
    settings.require("hidden_act", "gelu")
    sizes = llama_files.sizes_from(settings)
    rotary = llama_files.rotary_from(settings, sizes, theta_name="rotary_emb_base", share=0.25, share_name="rotary_pct")
    more = rotary | {
        "norm_eps": settings.take("layer_norm_eps", 1e-5),
        "parallel": settings.take("use_parallel_residual", True),
        "attention_bias": settings.take("attention_bias", True),
        "dropout": settings.take_equal(("attention_dropout", "hidden_dropout"), 0.0),
    }
    config = Config.build(sizes | more, source="config.json")
    settings.finish()
    return config
