"""The settings of each family under GGUF's names and under `config.json`'s: one table, read in both directions.

GGUF's keys are those of its specification (ggml-org/ggml, docs/gguf.md) and of the `gguf` library's writer; which of them
a family has, and what llama.cpp takes for granted without a key, is from llama.cpp's own reading (src/models/*.cpp). What a
key cannot say is found by writing and reading back: `gguf_from_config` refuses a model that comes back as another.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from groundup.core.errors import GroundupError, unknown_name


@dataclass(frozen=True)
class Key:
    """One setting: its key after the family's name, its name in a `config.json`, whether it is an int, float or bool.

    `unless` is the value that needs no key: it is left out in writing and taken when absent. `...` means required.
    """

    gguf: str
    theirs: str
    kind: type = int
    unless: Any = ...


@dataclass(frozen=True)
class Family:
    """What GGUF calls a family, its `model_type`s elsewhere, and its settings.

    `taken` is what llama.cpp computes without being told, as a `config.json` says it; `always` are keys that can have one
    value only. The rest says how its tensors differ from Hugging Face's (gguf_tensors.py).
    """

    name: str
    model_types: tuple[str, ...]
    keys: tuple[Key, ...]
    taken: dict[str, Any]
    always: dict[str, Any]
    pairs_apart: bool = False  # the rotated pairs of queries and keys are neighbours there, and half a head apart here
    norm_plus_one: bool = False  # norms are stored as the factor itself, not as its distance from one
    needs_head: bool = False  # the embedding is written twice where the head is tied to it
    biases: dict[str, str] | None = None  # settings that are told by whether a tensor is there


_SIZES = (
    Key("block_count", "num_hidden_layers"),
    Key("context_length", "max_position_embeddings"),
    Key("embedding_length", "hidden_size"),
    Key("feed_forward_length", "intermediate_size"),
    Key("attention.head_count", "num_attention_heads"),
    Key("attention.head_count_kv", "num_key_value_heads", unless=None),
    Key("attention.layer_norm_rms_epsilon", "rms_norm_eps", float),
    Key("attention.key_length", "head_dim", unless=None),
    Key("attention.value_length", "head_dim", unless=None),
)
_SILU = {"hidden_act": "silu"}
_EXPERTS_USED = Key("expert_used_count", "num_experts_per_tok")
_NO_BIAS = {"attention_bias": False}

FAMILIES = (
    Family("gpt2", ("gpt2",), (
        Key("block_count", "n_layer"),
        Key("context_length", "n_positions"),
        Key("embedding_length", "n_embd"),
        Key("feed_forward_length", "n_inner"),
        Key("attention.head_count", "n_head"),
        Key("attention.layer_norm_epsilon", "layer_norm_epsilon", float),
    ), {"activation_function": "gelu_new"}, {}),
    Family("llama", ("llama",), _SIZES, _SILU, {}, pairs_apart=True,
        biases={"attention_bias": "blk.0.attn_q.bias", "mlp_bias": "blk.0.ffn_up.bias"}),
    Family("llama", ("mixtral",), (*_SIZES, Key("expert_count", "num_local_experts"), _EXPERTS_USED), _SILU, {},
        pairs_apart=True),
    Family("qwen2", ("qwen2",), _SIZES, _SILU, {}),
    Family("qwen3", ("qwen3",), _SIZES, _SILU | _NO_BIAS, {}),
    Family("qwen3moe", ("qwen3_moe",), (
        *(key for key in _SIZES if key.gguf != "feed_forward_length"),
        Key("expert_count", "num_experts"),
        _EXPERTS_USED,
        Key("expert_feed_forward_length", "moe_intermediate_size"),
        Key("feed_forward_length", "intermediate_size", unless=None),
    ), _SILU | _NO_BIAS | {"norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []}, {}),
    Family("phi3", ("phi3",), _SIZES, _SILU, {}),
    Family("olmo2", ("olmo2",), _SIZES, _SILU | _NO_BIAS, {}, needs_head=True),
    Family("gptneox", ("gpt_neox",), (
        Key("block_count", "num_hidden_layers"),
        Key("context_length", "max_position_embeddings"),
        Key("embedding_length", "hidden_size"),
        Key("feed_forward_length", "intermediate_size"),
        Key("attention.head_count", "num_attention_heads"),
        Key("attention.layer_norm_epsilon", "layer_norm_eps", float),
        Key("use_parallel_residual", "use_parallel_residual", bool, unless=True),
    ), {"hidden_act": "gelu", "attention_bias": True}, {}, needs_head=True),
    Family("gemma2", ("gemma2",), (
        *_SIZES,
        Key("attn_logit_softcapping", "attn_logit_softcapping", float),
        Key("final_logit_softcapping", "final_logit_softcapping", float),
        Key("attention.sliding_window", "sliding_window"),
    ), {"hidden_activation": "gelu_pytorch_tanh"} | _NO_BIAS, {}, norm_plus_one=True),
    Family("gemma3", ("gemma3_text", "gemma3"), (
        *_SIZES,
        Key("final_logit_softcapping", "final_logit_softcapping", float, unless=None),
        Key("attention.sliding_window", "sliding_window"),
        Key("rope.freq_base_swa", "rope_local_base_freq", float, unless=10_000.0),
    ), {"hidden_activation": "gelu_pytorch_tanh"} | _NO_BIAS, {}, norm_plus_one=True),
    Family("mamba", ("mamba",), (
        Key("block_count", "num_hidden_layers"),
        Key("embedding_length", "hidden_size"),
        Key("ssm.conv_kernel", "conv_kernel"),
        Key("ssm.inner_size", "intermediate_size"),
        Key("ssm.state_size", "state_size"),
        Key("ssm.time_step_rank", "time_step_rank"),
        Key("attention.layer_norm_rms_epsilon", "layer_norm_epsilon", float),
    ), _SILU, {"feed_forward_length": 0, "attention.head_count": 0, "context_length": 1 << 20, "ssm.dt_b_c_rms": False}),
    Family("mamba2", ("mamba2",), (
        Key("block_count", "num_hidden_layers"),
        Key("embedding_length", "hidden_size"),
        Key("ssm.conv_kernel", "conv_kernel"),
        Key("ssm.inner_size", "intermediate_size"),
        Key("ssm.state_size", "state_size"),
        Key("ssm.time_step_rank", "num_heads"),
        Key("ssm.group_count", "n_groups"),
        Key("attention.layer_norm_rms_epsilon", "layer_norm_epsilon", float),
    ), _SILU, {"feed_forward_length": 0, "attention.head_count": 0, "context_length": 1 << 20}),
)  # fmt: skip

# The numbers of stretched rotary positions.
_STRETCHED = {
    "rope.scaling.factor": "factor",
    "rope.scaling.original_context_length": "original_max_position_embeddings",
    "rope.scaling.yarn_beta_fast": "beta_fast",
    "rope.scaling.yarn_beta_slow": "beta_slow",
}
# Where `config_from_gguf` keeps the original context of positions whose stretching is told by a tensor.
ORIGINAL_CONTEXT = "original context of rope_freqs.weight"

# Keys that say nothing of what is computed.
_WITHOUT_EFFECT = (
    "vocab_size",
    "rope.scaling.finetuned",
    "tensor_data_layout",
    "attention.causal",
    "parallel_residual",
)


class Fields:
    """The keys of a file that belong to its family, taken one by one; `finish` refuses what nobody took."""

    def __init__(self, fields: dict[str, Any], family: str, path: Path) -> None:
        self._left = {
            key.removeprefix(f"{family}."): value for key, value in fields.items() if key.startswith(f"{family}.")
        }
        self._family, self._path = family, path

    def take(self, key: str, default: Any = None) -> Any:
        """A setting's value as one would write it (float32 numbers by their shortest decimal), or `default`."""
        value = self._left.pop(key, None)
        if value is None and default is ...:
            raise GroundupError(
                f"{self._path} has no {self._family}.{key}, which this family needs; get the file again"
            )
        if isinstance(value, list):
            if len(set(value)) != 1:
                raise GroundupError(
                    f"{self._path}: {self._family}.{key} differs from layer to layer, which is not supported here"
                )
            value = value[0]
        if isinstance(value, float):
            value = float(str(np.float32(value)))
        return default if value is None else value

    def finish(self) -> None:
        """Refuse keys that nobody took: they would change what the model computes."""
        left = {key: value for key, value in self._left.items() if key not in _WITHOUT_EFFECT}
        if left:
            names = ", ".join(f"{self._family}.{key}={value!r}" for key, value in left.items())
            raise GroundupError(f"{self._path} asks for what is not supported here: {names}")


def family_of_file(fields: dict[str, Any], path: Path) -> Family:
    """The family of a GGUF file; raises GroundupError naming one that is not supported."""
    name = fields.get("general.architecture")
    found = [family for family in FAMILIES if family.name == name]
    if not found:
        error = unknown_name("architecture of a GGUF file", str(name), {family.name for family in FAMILIES})
        raise GroundupError(f"{path}: {error}")
    return found[-1] if len(found) > 1 and fields.get(f"{name}.expert_count") else found[0]


def family_of_model(model_type: str) -> Family | None:
    """The family that a `config.json`'s `model_type` belongs to in GGUF, or None."""
    return next((family for family in FAMILIES if model_type in family.model_types), None)


def config_from_gguf(family: Family, fields: dict[str, Any], tensors: dict[str, Any], path: Path) -> dict[str, Any]:
    """What `config.json` would say of a GGUF file; raises GroundupError naming what is not supported.

    `tensors` are the file's, by name: some settings are told by their presence alone.
    """
    left = Fields(fields, family.name, path)
    values: dict[str, Any] = {"model_type": family.model_types[0]} | family.taken
    for key in family.keys:
        value = left.take(key.gguf, key.unless)
        if value is not None:
            if values.get(key.theirs, value) != value:
                raise GroundupError(
                    f"{path}: {family.name}.{key.gguf} is {value} where {values[key.theirs]} was expected; keys and values of "
                    "different widths are not supported"
                )
            values[key.theirs] = value
    for key, only in family.always.items():
        if (value := left.take(key, only)) != only and key != "context_length":
            raise GroundupError(f"{path}: {family.name}.{key} is {value!r}; only {only!r} is supported")
    for name, tensor in (family.biases or {}).items():
        values[name] = tensor in tensors
    values |= _positions_from(family, left, values, path)
    values |= _particular_from(family, values)
    left.finish()
    values["vocab_size"] = tensors["token_embd.weight"].shape[0]
    return values


def gguf_from_config(family: Family, values: dict[str, Any], path: Path) -> dict[str, Any]:
    """The keys of a GGUF file for what a `config.json` says, floats as float32 and ints as they are."""
    values = {name: value for name, value in values.items() if value is not None}
    if family.name == "mamba2":
        values["intermediate_size"] = values["expand"] * values["hidden_size"]
    fields: dict[str, Any] = {}
    for key in family.keys:
        value = values.get(key.theirs, None if key.unless is ... else key.unless)
        if value is not None:
            fields[f"{family.name}.{key.gguf}"] = key.kind(value)
    fields |= {f"{family.name}.{key}": value for key, value in family.always.items()}
    fields |= {f"{family.name}.{key}": value for key, value in _positions_to(family, values).items()}
    return fields | {f"{family.name}.vocab_size": values["vocab_size"]}


def _head_width(values: dict[str, Any]) -> int:
    return values.get("head_dim") or values["hidden_size"] // values["num_attention_heads"]


def _positions_from(family: Family, left: Fields, values: dict[str, Any], path: Path) -> dict[str, Any]:
    """Rotary settings: the base, how much of a head turns, and how positions are stretched."""
    if "num_attention_heads" not in values:
        return {}
    width = _head_width(values)
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": left.take("rope.freq_base", 10_000.0)}
    rope["partial_rotary_factor"] = left.take("rope.dimension_count", width) / width
    kind = left.take("rope.scaling.type", "none")
    numbers = {theirs: left.take(key) for key, theirs in _STRETCHED.items()}
    numbers = {name: value for name, value in numbers.items() if value is not None}
    if kind in ("linear", "yarn"):
        rope |= {"rope_type": kind} | (numbers if kind == "yarn" else {"factor": numbers.get("factor")})
    elif kind != "none":
        raise GroundupError(
            f"{path}: rotary positions of type {kind!r} ({family.name}.rope.scaling.type) are not read from GGUF files; open "
            "the model's Hugging Face folder instead"
        )
    found: dict[str, Any] = {"rope_parameters": rope}
    if (near := values.pop("rope_local_base_freq", None)) is not None:
        window = {"rope_type": "default", "rope_theta": near}
        found["rope_parameters"] = {"full_attention": rope, "sliding_attention": window}
    if kind == "none" and "original_max_position_embeddings" in numbers:
        found[ORIGINAL_CONTEXT] = numbers["original_max_position_embeddings"]
    return found


def _positions_to(family: Family, values: dict[str, Any]) -> dict[str, Any]:
    if "num_attention_heads" not in values or "rope_parameters" not in values:
        return {}
    rope, fields = values["rope_parameters"], {}
    if "full_attention" in rope:
        fields["rope.freq_base_swa"] = float(rope["sliding_attention"]["rope_theta"])
        rope = rope["full_attention"]
    share = values.get("partial_rotary_factor", rope.get("partial_rotary_factor", 1.0))
    fields["rope.freq_base"] = float(rope["rope_theta"])
    fields["rope.dimension_count"] = int(_head_width(values) * share)
    kind = rope.get("rope_type", "default")
    if kind in ("linear", "yarn"):
        fields["rope.scaling.type"] = kind
        numbers = {key: rope[theirs] for key, theirs in _STRETCHED.items() if rope.get(theirs) is not None}
        fields |= {key: value if key.endswith("length") else float(value) for key, value in numbers.items()}
    elif kind == "llama3":  # the numbers themselves are a tensor (gguf_rope.py); this one helps to read it back
        fields["rope.scaling.original_context_length"] = rope["original_max_position_embeddings"]
    return fields


def _particular_from(family: Family, values: dict[str, Any]) -> dict[str, Any]:
    """What llama.cpp takes for granted and a config.json says by numbers that depend on others."""
    if family.name in ("gemma2", "gemma3"):
        n_layers = values["num_hidden_layers"]
        period = 2 if family.name == "gemma2" else 6
        kinds = ["full_attention" if (i + 1) % period == 0 else "sliding_attention" for i in range(n_layers)]
        # The largest of each, which llama.cpp knows by its depth, takes the width of a head as if heads filled the model.
        widest = n_layers == {"gemma2": 46, "gemma3": 62}[family.name]
        scalar = values["hidden_size"] // values["num_attention_heads"] if widest else _head_width(values)
        return {"query_pre_attn_scalar": scalar, "layer_types": kinds}
    if family.name in ("mamba", "mamba2"):
        inner, d_model = values["intermediate_size"], values["hidden_size"]
        found = {"expand": inner // d_model, "use_bias": False, "use_conv_bias": True}
        if family.name == "mamba2":  # whose config.json says the width only by `expand`
            del values["intermediate_size"]
            found["head_dim"] = inner // values["num_heads"]
        return found
    return {}
