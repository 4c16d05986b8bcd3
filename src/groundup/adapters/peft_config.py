"""`adapter_config.json`, PEFT's description of an adapter, from and to our settings.

Reading ignores nothing: a key that changes what the adapter computes and that is not known here is refused by name. The keys,
their defaults and what they do are those of PEFT 0.21's `LoraConfig`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from groundup.core.errors import GroundupError

# Keys that say how an adapter was made or is to be trained, not what it computes.
_WITHOUT_EFFECT = {
    *("auto_mapping", "peft_version", "inference_mode", "task_type", "revision", "fan_in_fan_out", "qalora_group_size"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "megatron_config", "megatron_core"),
    *("eva_config", "loftq_config", "runtime_config", "ensure_weight_tying", "base_model_name_or_path", "bias"),
    *("peft_type", "init_lora_weights"),
}
# Ways to begin that leave the base as it is. PiSSA, OLoRA, CorDA and LoftQ change it, so their A and B mean nothing beside it.
_PLAIN_BEGINNINGS = (True, False, None, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True)
class PeftSettings:
    """What an adapter_config.json says, in its own terms."""

    rank: int
    alpha: float
    dropout: float
    rslora: bool
    dora: bool
    rank_pattern: dict[str, int]
    alpha_pattern: dict[str, float]
    tokens: dict[str, tuple[int, ...]]  # ids of trained rows, by the end of their table's name; "" the input embedding
    whole: tuple[str, ...]  # modules that are saved whole
    base: str | None

    def rank_of(self, module: str) -> int:
        """The rank a module of this published name has."""
        return int(_by_pattern(self.rank_pattern, module, self.rank))

    def alpha_of(self, module: str) -> float:
        """The alpha a module of this published name has."""
        return float(_by_pattern(self.alpha_pattern, module, self.alpha))


def read_settings(values: Any, source: str) -> PeftSettings:
    """The settings in the JSON of an adapter_config.json; raises GroundupError naming what is not supported here."""
    if not isinstance(values, dict) or "peft_type" not in values:
        raise GroundupError(f"{source} has no peft_type, so it does not say what adapter this is")
    left = dict(values)
    if (kind := left["peft_type"]) != "LORA":
        raise GroundupError(f"{source}: peft_type {kind!r} is not supported here; only LORA (LoRA, rsLoRA, DoRA) is")
    if left.get("bias", "none") != "none":
        raise GroundupError(f"{source}: bias={left['bias']!r}: trained biases are not supported here, only bias='none'")
    if (begun := left.get("init_lora_weights")) not in _PLAIN_BEGINNINGS:
        raise GroundupError(
            f"{source}: init_lora_weights={begun!r} changes the base's weights when it begins, so this adapter does not fit "
            "the base as published; save it from PEFT with path_initial_model_for_weight_conversion, which makes it plain LoRA"
        )
    tokens = left.pop("trainable_token_indices", None) or {}
    settings = PeftSettings(
        rank=left.pop("r", 8),
        alpha=left.pop("lora_alpha", 8),
        dropout=left.pop("lora_dropout", 0.0) or 0.0,
        rslora=bool(left.pop("use_rslora", False)),
        dora=bool(left.pop("use_dora", False)),
        rank_pattern=left.pop("rank_pattern", None) or {},
        alpha_pattern=left.pop("alpha_pattern", None) or {},
        tokens={k: tuple(v) for k, v in (tokens if isinstance(tokens, dict) else {"": tokens}).items()},
        whole=tuple(left.pop("modules_to_save", None) or ()),
        base=left.get("base_model_name_or_path"),
    )
    on = {
        key: value for key, value in left.items() if key not in _WITHOUT_EFFECT and value not in (None, False, {}, [])
    }
    if on:
        named = ", ".join(f"{key}={value!r}" for key, value in on.items())
        raise GroundupError(
            f"{source} asks for {named}, which changes what the adapter computes and is not supported here"
        )
    return settings


def settings_json(settings: PeftSettings, targets: Iterable[str], *, transposed: bool, task: str) -> dict[str, Any]:
    """The JSON of an adapter_config.json; `targets` are published names, or ends of them, of the modules adapted.

    `transposed`: whether the family keeps its matrices as [in, out].
    """
    tokens: Any = {name: list(ids) for name, ids in settings.tokens.items()}
    if set(tokens) == {""}:
        tokens = tokens[""]
    return {
        "peft_type": "LORA",
        "task_type": task,
        "base_model_name_or_path": settings.base,
        "inference_mode": True,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "use_rslora": settings.rslora,
        "use_dora": settings.dora,
        "target_modules": sorted(targets),
        "rank_pattern": settings.rank_pattern,
        "alpha_pattern": settings.alpha_pattern,
        "trainable_token_indices": tokens or None,
        "modules_to_save": list(settings.whole) or None,
        "fan_in_fan_out": transposed,
        "bias": "none",
        "init_lora_weights": True,
    }


def shortest_ends(chosen: Iterable[str], others: Iterable[str]) -> list[str]:
    """Ends of the `chosen` names, as short as they can be without being the end of one of the `others`."""
    others = set(others)
    beyond = {end for name in others for end in _ends(name)}
    return sorted({next((end for end in _ends(name) if end not in beyond), name) for name in chosen})


def _ends(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[-n:]) for n in range(1, len(parts) + 1)]


def _by_pattern(patterns: dict[str, Any], module: str, otherwise: Any) -> Any:
    """The value of the first pattern that means the module, as PEFT looks it up: a regular expression for its end."""
    for pattern, value in patterns.items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        except re.error as error:
            raise GroundupError(f"adapter_config.json: {pattern!r} is no regular expression ({error})") from None
    return otherwise
