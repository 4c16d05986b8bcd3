"""Custom: a decoder of chosen parts (what is seen, how positions are told, which norm and where, which feed-forward).

Every part is one that a published model has; together they make many that nobody has published, so that parts can be
weighed against each other with all else equal. No other tool knows such a model: it opens here alone.

- Heads share key-value heads by `n_kv_heads`: as many as heads (Vaswani et al. 2017), one for all (Shazeer 2019, "Fast
  Transformer Decoding"), or groups between (Ainslie et al. 2023, "GQA").
- `window`: a token sees only the newest tokens (Jiang et al. 2023, "Mistral 7B", section 2). `sink_tokens`: and the
  first ones of its document, which models lean on when they need nothing (Xiao et al. 2023, "Efficient Streaming Language
  Models with Attention Sinks", section 3). `sink_logits`: each head learns a place that holds nothing instead (the
  gpt-oss model card, OpenAI 2025).
- `norm_placement`: before each part (Radford et al. 2019), or after its sum as in 2017. The last norm, before the head,
  stays in both: it sets the scale of the first logits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.models.base import AttentionConfig, LanguageModel, Reading
from groundup.models.layers.alibi import with_alibi
from groundup.models.layers.embedding import Embedding
from groundup.models.layers.feedforward import FeedForward, Gated, exact_gelu, gelu, relu_squared
from groundup.models.layers.grouped_query import GroupedQueryAttention
from groundup.models.layers.norm import LayerNorm, RMSNorm
from groundup.models.layers.position import Rotary, check_pairs, sinusoids
from groundup.models.sizes import Dial, modern_sizes
from groundup.models.state import DecodeState
from groundup.models.weights import ForeignConfig, WeightTable, own_names

ROPE_THETA = 10_000.0
NORMS = {"layer": LayerNorm, "rms": RMSNorm}
FEED_FORWARDS: dict[str, tuple[type[FeedForward] | type[Gated], Callable[[Tensor], Tensor]]] = {
    "gelu": (FeedForward, exact_gelu),
    "gelu_tanh": (FeedForward, gelu),
    "relu_squared": (FeedForward, relu_squared),
    "swiglu": (Gated, F.silu),
    "geglu": (Gated, exact_gelu),
}


class Config(AttentionConfig):
    """Sizes and parts of a custom model."""

    architecture: Literal["custom"] = "custom"  # pyright: ignore[reportIncompatibleVariableOverride]
    norm_eps: float = pydantic.Field(1e-6, gt=0, description="added to the variance before its root is taken")
    positions: Literal["learned", "sinusoidal", "rotary", "alibi", "none"] = pydantic.Field(
        "rotary", description="how the model knows where a token stands"
    )
    rope_theta: float = pydantic.Field(ROPE_THETA, gt=0, description="base of the rotary wavelengths, in tokens")
    window: int | None = pydantic.Field(None, ge=1, description="tokens a token sees, itself among them; None: all")
    sink_tokens: int = pydantic.Field(0, ge=0, description="first tokens of a document seen beyond the window")
    sink_logits: bool = pydantic.Field(False, description="whether each head learns how much to look at nothing")
    softcap: float | None = pydantic.Field(None, gt=0, description="greatest attention score, approached softly")
    qk_norm: bool = pydantic.Field(False, description="whether queries and keys pass an RMS norm a head")
    norm: Literal["layer", "rms"] = pydantic.Field("rms", description="kind of norm")
    norm_placement: Literal["before", "after"] = pydantic.Field(
        "before", description="whether a part reads a normalised copy, or its sum with what it read is normalised"
    )
    feed_forward: Literal["gelu", "gelu_tanh", "relu_squared", "swiglu", "geglu"] = pydantic.Field(
        "swiglu", description="kind of feed-forward layer"
    )
    biases: bool = pydantic.Field(
        False, description="whether the matrices of the blocks have biases, but those of keys"
    )
    dropout: float = pydantic.Field(0.0, ge=0, lt=1, description="probability of dropping a number while training")

    @pydantic.model_validator(mode="after")
    def _goes_together(self) -> Config:
        if self.positions == "rotary":
            check_pairs(self.d_head)
        elif self.rope_theta != ROPE_THETA:
            raise ValueError(
                f"rope_theta {self.rope_theta:g} has no effect on positions {self.positions}; leave it out"
            )
        if self.window is not None and self.window + self.sink_tokens >= self.context_length:
            sinks = f" and sink_tokens {self.sink_tokens}" if self.sink_tokens else ""
            raise ValueError(
                f"window {self.window}{sinks} would let every token see all of the context_length "
                f"{self.context_length} and have no effect; make it smaller or leave it out"
            )
        if self.sink_tokens and self.window is None:
            raise ValueError(
                f"sink_tokens {self.sink_tokens} have no effect without a window: every token sees the first ones already"
            )
        if self.dropout and (self.softcap is not None or self.sink_logits):
            part = "sink_logits" if self.softcap is None else f"softcap {self.softcap:g}"
            raise ValueError(
                f"dropout {self.dropout:g} and {part} do not go together: attention with {part.split()[0]} is "
                "computed without dropout; leave one out"
            )
        return self

    @property
    def gated(self) -> bool:
        """Whether the feed-forward layer has a third matrix, the gate."""
        return FEED_FORWARDS[self.feed_forward][0] is Gated

    def matrix_parameters(self) -> int:
        return self.n_layers * (self.attention_parameters() + (3 if self.gated else 2) * self.d_model * self.d_ff)

    def vector_parameters(self) -> int:
        norm = 2 if self.norm == "layer" else 1  # vectors of a norm: gain, and bias
        attention_biases = self.d_head * (self.n_heads + self.n_kv_heads) + self.d_model
        feed_forward_biases = (2 if self.gated else 1) * self.d_ff + self.d_model
        layer = 2 * norm * self.d_model + self.qk_norm * 2 * self.d_head + self.sink_logits * self.n_heads
        layer += self.biases * (attention_biases + feed_forward_biases)
        return self.n_layers * layer + norm * self.d_model

    def table_parameters(self) -> int:
        return super().table_parameters() + (self.positions == "learned") * self.context_length * self.d_model


class Block(nn.Module):
    """Attention, then feed-forward, each added to the residual stream and normalised before or after."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.norm_before = config.norm_placement == "before"
        norm = NORMS[config.norm]
        self.attention_norm = norm(config.d_model, config.norm_eps)
        self.attention = GroupedQueryAttention(
            config,
            layer,
            bias=config.biases,
            key_bias=False,  # it would shift all scores of a query alike, which softmax does not see
            output_bias=config.biases,
            norm=(lambda width: RMSNorm(width, config.norm_eps)) if config.qk_norm else None,
            rotary=0 if config.positions == "rotary" else None,
            softcap=config.softcap,
            dropout=config.dropout,
            sinks=config.sink_logits,
        )
        self.feed_forward_norm = norm(config.d_model, config.norm_eps)
        layer_class, bend = FEED_FORWARDS[config.feed_forward]
        self.feed_forward = layer_class(config.d_model, config.d_ff, bend, bias=config.biases)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        if self.norm_before:
            x_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), reading))
            return x_BTD + self.dropout(self.feed_forward(self.feed_forward_norm(x_BTD)))
        x_BTD = self.attention_norm(x_BTD + self.dropout(self.attention(x_BTD, reading)))
        return self.feed_forward_norm(x_BTD + self.dropout(self.feed_forward(x_BTD)))


class Model(LanguageModel):
    """A language model of chosen parts; see `LanguageModel` for what it does."""

    config: Config

    def __init__(self, config: Config) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, NORMS[config.norm](config.d_model, config.norm_eps))
        if config.positions == "rotary":
            self.rotaries = (Rotary(config.d_head, config.rope_theta),)
        if config.positions == "learned":
            self.position_embedding = Embedding(config.context_length, config.d_model)

    def embed(self, tokens_BT: Tensor, reading: Reading) -> Tensor:
        hidden_BTD = self.token_embedding(tokens_BT)
        if self.config.positions == "learned":
            hidden_BTD = hidden_BTD + self.position_embedding(reading.positions_BT)
        elif self.config.positions == "sinusoidal":
            # As large as the rows begin, see initialization.py; of 2017's own scale they would drown tied ones.
            gain = self.config.d_model**-0.5 if self.config.tie_embeddings else 1.0
            hidden_BTD = hidden_BTD + gain * sinusoids(reading.positions_BT, self.config.d_model)
        return F.dropout(hidden_BTD.to(self.compute_dtype), self.config.dropout, self.training)

    def read(self, tokens_BT: Tensor, state: DecodeState | None, document_ids_BT: Tensor | None) -> Reading:
        """Positions and the mask, which is the same in all layers: window, sinks and linear biases are in it."""
        reading = super().read(tokens_BT, state, document_ids_BT)
        reading.mask = reading.mask_within(self.config.window, self.config.sink_tokens)
        if self.config.positions == "alibi":
            distances_BTS = reading.distances()
            seen = reading.mask if reading.mask is not None else distances_BTS[:, None] >= 0
            reading.mask = with_alibi(seen, distances_BTS, self.config.n_heads)
        return reading


def derived_sizes(dial: Dial) -> dict[str, Any]:
    """The sizes that follow from depth, width and heads; see sizes.py."""
    sizes = modern_sizes(dial)
    kind = FEED_FORWARDS.get(dial.given.get("feed_forward", "swiglu"))
    if kind is not None and kind[0] is FeedForward:
        sizes["d_ff"] = 4 * dial.d_model  # as in Vaswani et al. 2017, section 3.3; a gated layer has three matrices
    if dial.given.get("positions", "rotary") != "rotary":
        del sizes["rope_theta"]
    return sizes


MODEL_TYPES = ("groundup_custom",)


def weights(config: Config) -> WeightTable:
    """The tensors of its files."""
    with torch.device("meta"):
        return own_names(name for name, _ in Model(config).named_parameters())


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model: its own settings, under their own names."""
    return {"model_type": MODEL_TYPES[0]} | config.model_dump(mode="json", exclude={"architecture"})


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what is not a setting of this architecture."""
    settings = ForeignConfig(values)
    names = [name for name in Config.model_fields if name in values and name != "architecture"]
    given = {name: settings.take(name) for name in names}
    config = Config.build(given, source="config.json")
    settings.finish()
    return config
