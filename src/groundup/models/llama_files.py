"""The names the Llama family and its relatives write their weights and settings under, which are nearly all the same.

An architecture puts its weight table together from these rows, and takes its settings through these functions; what it
alone has, it adds itself. Sources: the `config.json` and `model.safetensors` of the published models, and the
configuration classes of transformers 5 and 4.51 (which spelled the rotary settings otherwise).
"""

from __future__ import annotations

from typing import Any

from groundup.core.errors import GroundupError
from groundup.models.base import AttentionConfig
from groundup.models.layers.rope_scaling import RopeScaling
from groundup.models.weights import ForeignConfig, Row, eos_ids, eos_value

_LAYER = "model.layers.{layer}"

EMBEDDING = Row("token_embedding.weight", "model.embed_tokens.weight")
FINAL_NORM = Row("final_norm.weight", "model.norm.weight")
HEAD = Row("head.weight", "lm_head.weight")
PRE_NORMS = (
    Row("blocks.{layer}.attention_norm.weight", f"{_LAYER}.input_layernorm.weight"),
    Row("blocks.{layer}.feed_forward_norm.weight", f"{_LAYER}.post_attention_layernorm.weight"),
)
# Norms before and after both parts of a block, as in the Gemma family from the second generation on.
SANDWICH_NORMS = (
    Row("blocks.{layer}.attention_norm.weight", f"{_LAYER}.input_layernorm.weight"),
    Row("blocks.{layer}.attention_post_norm.weight", f"{_LAYER}.post_attention_layernorm.weight"),
    Row("blocks.{layer}.feed_forward_norm.weight", f"{_LAYER}.pre_feedforward_layernorm.weight"),
    Row("blocks.{layer}.feed_forward_post_norm.weight", f"{_LAYER}.post_feedforward_layernorm.weight"),
)
HEAD_NORMS = (
    Row("blocks.{layer}.attention.query_norm.weight", f"{_LAYER}.self_attn.q_norm.weight"),
    Row("blocks.{layer}.attention.key_norm.weight", f"{_LAYER}.self_attn.k_norm.weight"),
)
_ATTENTION = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"}
_FEED_FORWARD = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}


def attention_rows(*, bias: bool = False, output_bias: bool = False) -> tuple[Row, ...]:
    """The matrices of queries, keys, values and output, and the biases there are."""
    rows = []
    for ours, theirs in _ATTENTION.items():
        rows.append(Row(f"blocks.{{layer}}.attention.{ours}.weight", f"{_LAYER}.self_attn.{theirs}.weight"))
        if output_bias if ours == "output" else bias:
            rows.append(Row(f"blocks.{{layer}}.attention.{ours}.bias", f"{_LAYER}.self_attn.{theirs}.bias"))
    return tuple(rows)


def feed_forward_rows(*, bias: bool = False) -> tuple[Row, ...]:
    """The three matrices of a gated feed-forward layer, and their biases."""
    parts = ("weight", "bias") if bias else ("weight",)
    return tuple(
        Row(f"blocks.{{layer}}.feed_forward.{ours}.{part}", f"{_LAYER}.mlp.{theirs}.{part}")
        for ours, theirs in _FEED_FORWARD.items()
        for part in parts
    )


def sizes_from(settings: ForeignConfig, *, n_kv_heads: int | None = None, tied: bool = False) -> dict[str, Any]:
    """The sizes of an `AttentionConfig` in a config.json; what it leaves out is as the family's defaults say.

    `n_kv_heads` and `tied` are those defaults; without the first, every head has its own keys and values.
    """
    n_heads, d_model = settings.take("num_attention_heads", ...), settings.take("hidden_size", ...)
    d_head = settings.take("head_dim", d_model // n_heads)
    return {
        "vocab_size": settings.take("vocab_size", ...),
        "context_length": settings.take("max_position_embeddings", ...),
        "d_model": d_model,
        "n_layers": settings.take("num_hidden_layers", ...),
        "n_heads": n_heads,
        "n_kv_heads": settings.take("num_key_value_heads", n_kv_heads or n_heads),
        "d_head": d_head,
        "d_ff": settings.take("intermediate_size", ...),
        "tie_embeddings": settings.take("tie_word_embeddings", tied),
        "bos_id": settings.take("bos_token_id"),
        "eos_ids": eos_ids(settings.take("eos_token_id")),
        "pad_id": settings.take("pad_token_id"),
    }


def sizes_to(config: AttentionConfig) -> dict[str, Any]:
    """The inverse of `sizes_from`."""
    return {
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.d_head,
        "intermediate_size": config.d_ff,
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": config.bos_id,
        "eos_token_id": eos_value(config.eos_ids),
        "pad_token_id": config.pad_id,
    }


def full_layers_from(settings: ForeignConfig, n_layers: int, pattern: int) -> tuple[int, ...]:
    """The layers that see all tokens, where the others see a window: those of `layer_types`, else each `pattern`th."""
    kinds = settings.take("layer_types")
    if kinds is None:
        return tuple(range(pattern - 1, n_layers, pattern))
    if len(kinds) != n_layers or set(kinds) - {"sliding_attention", "full_attention"}:
        raise GroundupError(
            f"config.json asks for layer_types {kinds}; {n_layers} of 'sliding_attention' and 'full_attention' are "
            "supported here, one a layer"
        )
    return tuple(layer for layer, kind in enumerate(kinds) if kind == "full_attention")


def layer_types(full_layers: tuple[int, ...], n_layers: int) -> list[str]:
    """The inverse of `full_layers_from`."""
    return ["full_attention" if layer in full_layers else "sliding_attention" for layer in range(n_layers)]


# Their names of a scaling's numbers, and ours.
_SCALING = {
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "original_max_position_embeddings": "original_context_length",
}


def rope_from(settings: ForeignConfig, theta: float = 10_000.0) -> tuple[float, RopeScaling | None]:
    """The rotary base and scaling in a new file's `rope_parameters` or an old one's `rope_theta` and `rope_scaling`.

    `theta` is the family's default. Raises GroundupError for a kind, or a number, that is not supported.
    """
    theta = settings.take("rope_theta", theta)
    scaling = None
    for name in ("rope_scaling", "rope_parameters"):
        rope = dict(settings.take(name, {}))
        kind = rope.pop("rope_type", rope.pop("type", "default"))
        rope.pop("type", None)
        theta = rope.pop("rope_theta", theta)
        if rope.pop("partial_rotary_factor", 1.0) != 1.0:
            raise GroundupError(f"config.json asks for {name} that turn a part of each head, which is not supported")
        if kind != "default":
            scaling = _scaling(name, kind, rope)
        elif left := {key: value for key, value in rope.items() if value is not None}:
            raise GroundupError(
                f"config.json asks for {name} {left}, which mean nothing for positions of type 'default'"
            )
    return theta, scaling


def _scaling(name: str, kind: str, rope: dict[str, Any]) -> RopeScaling:
    if unknown := set(rope) - set(_SCALING):
        raise GroundupError(
            f"config.json asks for {name} of type {kind!r} with {sorted(unknown)}; that is not supported"
        )
    try:
        return RopeScaling.build({"kind": kind} | {_SCALING[key]: value for key, value in rope.items()}, source=name)
    except GroundupError as error:
        raise GroundupError(f"config.json: {error}") from None


def rope_to(theta: float, scaling: RopeScaling | None) -> dict[str, Any]:
    """Settings that transformers 4.51 (`rope_theta`, `rope_scaling`) and 5 (`rope_parameters`) read alike."""
    rope: dict[str, Any] = {"rope_type": "default"}
    if scaling is not None:
        numbers = scaling.numbers()
        rope = {"rope_type": scaling.kind}
        rope |= {theirs: numbers[ours] for theirs, ours in _SCALING.items() if ours in numbers}
    values: dict[str, Any] = {"rope_theta": theta, "rope_parameters": rope | {"rope_theta": theta}}
    return values | ({"rope_scaling": rope} if scaling is not None else {})
