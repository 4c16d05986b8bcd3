"""One dial for the size of a model: its depth, written d2, d4, d6, d12 and so on; the rest follows.

The depth alone decides, as in nanochat's `--depth`, because the good shapes of all sizes lie near one line: loss
changes little over a wide range of width to depth (Kaplan et al. 2020, section 3.2), so one ratio serves. Depth, width
and heads are derived here; an architecture's `derived_sizes` gives the rest. Every size can be overridden, and what
depends on it follows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic.fields import FieldInfo

from groundup.core.errors import GroundupError
from groundup.models.base import ModelConfig
from groundup.models.discovery import architecture as architecture_module

# Width a layer: GPT-2 124M (12 x 768) and nanochat have 64; multiples of 64 also suit every matrix kernel.
WIDTH_PER_LAYER = 64
DEEPEST = 96  # the depth of GPT-3 175B; beyond it somebody has mistyped


@dataclass(frozen=True)
class Dial:
    """What one dial decides, whatever the architecture; `n_heads` is 0 where there is no attention."""

    n_layers: int
    d_model: int
    n_heads: int
    vocab_size: int
    context_length: int
    given: Mapping[str, Any] = field(default_factory=dict)  # fields that are given by hand, where sizes hang on them


def config_for_size(
    size: str | int, vocab_size: int, context_length: int, architecture: str = "qwen3", **overrides: Any
) -> ModelConfig:
    """The configuration of a model of `size` ("d6", "6" or 6); `overrides` are fields of it that win.

    Raises GroundupError for a size that is none, and for sizes that do not fit together.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    module = architecture_module(architecture)
    for name in ("n_layers", "d_model", "n_heads", "d_head"):
        if given.get(name, 1) < 1:
            raise GroundupError(f"{name} {given[name]} must be at least 1")
    depth = given.pop("n_layers", None) or _depth(size)
    d_model = given.pop("d_model", WIDTH_PER_LAYER * depth)
    values: dict[str, Any] = {
        "architecture": architecture,
        "vocab_size": vocab_size,
        "context_length": context_length,
        "n_layers": depth,
        "d_model": d_model,
    }
    n_heads = 0
    if "n_heads" in module.Config.model_fields:
        d_head = given.pop("d_head", None) or _head_width(d_model, given.get("n_heads"))
        n_heads = given.pop("n_heads", None) or _number_of_heads(d_model, d_head)
        values |= {"d_head": d_head, "n_heads": n_heads}
    values |= module.derived_sizes(Dial(depth, d_model, n_heads, vocab_size, context_length, given))
    return module.Config.build(values | given, source=f"size {size}")


# Fields that the tokenizer and the length of the text decide.
_GIVEN = ("architecture", "vocab_size", "context_length", "bos_id", "eos_ids", "pad_id")


def own_fields(architecture: str) -> dict[str, FieldInfo]:
    """The fields of an architecture's configuration that `config_for_size` takes as overrides, by name."""
    fields = architecture_module(architecture).Config.model_fields
    return {name: field for name, field in fields.items() if name not in _GIVEN}


def modern_sizes(dial: Dial) -> dict[str, Any]:
    """What follows from depth, width and heads in the Llama family and its relatives: most take it as `derived_sizes`."""
    n_heads = dial.n_heads
    # Three matrices of 8/3 d_model have the parameters of two of 4 d_model (Shazeer 2020, section 2).
    d_ff = max(64, 64 * round(8 * dial.d_model / 3 / 64))
    return {
        "d_ff": d_ff,
        # Sharing key-value heads saves decode memory and costs a little quality (Ainslie et al. 2023, section 3): up
        # to 12 layers that memory is small anyway; beyond, two heads share one, as in Qwen3 0.6B.
        "n_kv_heads": n_heads // 2 if dial.n_layers > 12 and n_heads % 2 == 0 else n_heads,
        # A head of its own costs memory but no arithmetic, and learns faster (modded-nanogpt and nanochat untie; not
        # measured here). It is tied once it would hold more than the blocks, where sharing saves most (Press and
        # Wolf 2017; MobileLLM, Liu et al. 2024, section 2.2).
        "tie_embeddings": dial.vocab_size > dial.n_layers * (4 * dial.d_model + 3 * d_ff),
        # Su et al. 2021, section 3.4.3; long contexts need longer waves (Xiong et al. 2023, section 2.1): Qwen3's.
        "rope_theta": 10_000.0 if dial.context_length <= 4096 else 1_000_000.0,
    }


def _depth(size: str | int) -> int:
    """The number of layers a size names."""
    match = re.fullmatch(r"d?(\d+)", str(size).strip().lower())
    if not match or not 1 <= int(match[1]) <= DEEPEST:
        raise GroundupError(f"size {size!r} is not a depth; use d1 to d{DEEPEST}, for example d4, d6, d8 or d12")
    return int(match[1])


def _number_of_heads(d_model: int, d_head: int) -> int:
    """As many heads as fill the width."""
    if d_model % d_head:
        nearest = max(1, round(d_model / d_head)) * d_head
        raise GroundupError(
            f"d_model {d_model} is not a multiple of d_head {d_head}; use d_model {nearest}, another d_head, or give "
            "n_heads"
        )
    return d_model // d_head


def _head_width(d_model: int, n_heads: int | None) -> int:
    """64 numbers a head, as GPT-2 (and 32 below width 256, where 64 would leave too few heads to divide the work)."""
    if n_heads is not None:
        if d_model % n_heads:
            raise GroundupError(f"d_model {d_model} is not a multiple of n_heads {n_heads}; change one, or give d_head")
        return d_model // n_heads
    return 64 if d_model >= 256 else 32
