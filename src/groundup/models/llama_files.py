"""The names the Llama family and its relatives write their weights and settings under, which are nearly all the same.

An architecture puts its weight table together from these rows, and takes its settings through these functions; what it
alone has, it adds itself. Sources: the `config.json` and `model.safetensors` of the published models, and the
configuration classes of transformers 5 and 4.51 (which spelled the rotary settings otherwise).
"""

from __future__ import annotations

from typing import Any

from groundup.core.errors import GroundupError
from groundup.models.base import AttentionConfig
from groundup.models.layers.rope_scaling import NUMBERS, RopeScaling
from groundup.models.rotary_config import RotaryConfig
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
# Tensors that files of early versions carry; they follow from the config.
FREQUENCIES = r"(model\.)?layers\.\d+\.self_attn\.rotary_emb\.inv_freq"
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


# Their names of a scaling's numbers where they are not ours.
_LONGER_NAMES = {"original_context_length": "original_max_position_embeddings"}


def rope_from(settings: ForeignConfig, theta: float = 10_000.0) -> tuple[float, RopeScaling | None]:
    """The rotary base and scaling alone, for a family with rules of its own; see `rotary_from`."""
    found = rotary_from(settings, {"context_length": None}, theta=theta)
    return found["rope_theta"], found["rope_scaling"]


def rotary_from(
    settings: ForeignConfig,
    sizes: dict[str, Any],
    *,
    theta: float = 10_000.0,
    theta_name: str = "rope_theta",
    share: float | None = None,
    share_name: str = "partial_rotary_factor",
    original: int | None = None,
) -> dict[str, Any]:
    """The rotary settings in a new file's `rope_parameters` or an old one's `rope_theta` and `rope_scaling`.

    Gives rope_theta, rope_scaling, context_length (which dynamic scaling makes longer than what `sizes` say) and, for a
    family that turns a part of each head, rotary_share. `theta`, `share` (None: it turns all) and `original` (the length
    trained on first) are the family's defaults, and the names those in its old files. Raises GroundupError for a kind
    or a number that is not supported.
    """
    # As transformers 5 has it: rope_scaling wins, numbers inside win over those beside, an original length beside wins.
    new, old = settings.take("rope_parameters", {}), settings.take("rope_scaling", {})
    name, rope = ("rope_scaling", dict(old)) if old else ("rope_parameters", dict(new))
    kind = rope.pop("type", "default")
    kind = rope.pop("rope_type", kind)
    theta_beside, share_beside = settings.take(theta_name, theta), settings.take(share_name, share or 1.0)
    found = {"context_length": sizes["context_length"], "rope_theta": rope.pop("rope_theta", theta_beside)}
    turned = rope.pop("partial_rotary_factor", share_beside)
    if share is not None:
        found["rotary_share"] = turned
    elif turned != 1.0:
        raise GroundupError(
            f"config.json asks for a partial_rotary_factor of {turned} in {name}: to turn a part of each head is not "
            "supported here"
        )
    rope = {key: value for key, value in rope.items() if value is not None}
    original = settings.take("original_max_position_embeddings", original)
    found["rope_scaling"] = None
    if kind != "default":
        found["rope_scaling"] = scaling = _scaling(name, kind, rope, original, sizes["context_length"])
        if kind == "dynamic":
            found["context_length"] = int(scaling.factor * sizes["context_length"])
    elif rope:
        raise GroundupError(f"config.json asks for {name} {rope}, which mean nothing for positions of type 'default'")
    return found


def _scaling(
    name: str, kind: str, rope: dict[str, Any], original: int | None, context_length: int | None
) -> RopeScaling:
    """The scaling that a file describes; what it leaves out follows from the lengths."""
    # The first files of Phi-3 wrote other names.
    if kind == "su" or (kind == "yarn" and "short_factor" in rope):
        kind = "longrope"
    if kind not in NUMBERS or (kind == "dynamic" and context_length is None):
        raise GroundupError(f"config.json asks for {name} of type {kind!r}, which is not supported here")
    numbers = NUMBERS[kind]
    theirs = {_LONGER_NAMES.get(number, number): number for number in numbers}
    if unknown := set(rope) - set(theirs):
        raise GroundupError(
            f"config.json asks for {name} of type {kind!r} with {sorted(unknown)}; that is not supported here"
        )
    values: dict[str, Any] = {"kind": kind} | {theirs[key]: value for key, value in rope.items()}
    if kind == "dynamic":
        values["original_context_length"] = context_length
    elif "original_context_length" in numbers:
        length = original or values.get("original_context_length", context_length)
        values["original_context_length"] = length
        if kind in ("yarn", "longrope") and length and context_length:
            values.setdefault("factor", context_length / length)
    try:
        return RopeScaling.build(values, source=name)
    except GroundupError as error:
        raise GroundupError(f"config.json: {error}") from None


def rope_to(theta: float, scaling: RopeScaling | None) -> dict[str, Any]:
    """Settings that transformers 4.51 (`rope_theta`, `rope_scaling`) and 5 (`rope_parameters`) read alike."""
    rope: dict[str, Any] = {"rope_type": "default"}
    if scaling is not None:
        rope = {"rope_type": scaling.kind}
        rope |= {_LONGER_NAMES.get(name, name): number for name, number in scaling.numbers().items()}
    if rope["rope_type"] == "dynamic":
        del rope["original_max_position_embeddings"]  # the file's max_position_embeddings
    values: dict[str, Any] = {"rope_theta": theta, "rope_parameters": rope | {"rope_theta": theta}}
    return values | ({"rope_scaling": rope} if scaling is not None else {})


def rotary_to(config: RotaryConfig) -> dict[str, Any]:
    """The inverse of `rotary_from` for families that turn all numbers of a head, to be put behind `sizes_to`."""
    scaling, values = config.rope_scaling, rope_to(config.rope_theta, config.rope_scaling)
    if scaling is not None and scaling.kind == "dynamic":
        values["max_position_embeddings"] = scaling.original_context_length
    return values
