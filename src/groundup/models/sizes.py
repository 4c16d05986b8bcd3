"""One dial for the size of a model: its depth, written d2, d4, d6, d12 and so on; the rest follows.

The depth alone decides, as in nanochat's `--depth`, because the good shapes of all sizes lie near one line: loss
changes little over a wide range of width to depth (Kaplan et al. 2020, section 3.2), so one ratio serves. Depth, width
and heads are derived here; an architecture's `derived_sizes` gives the rest. Every size can be overridden, and what
depends on it follows.
"""

from __future__ import annotations

import re
from typing import Any

from groundup.core.errors import GroundupError
from groundup.models.base import ModelConfig
from groundup.models.discovery import architecture as architecture_module

# Width a layer: GPT-2 124M (12 x 768) and nanochat have 64; multiples of 64 also suit every matrix kernel.
WIDTH_PER_LAYER = 64
DEEPEST = 96  # the depth of GPT-3 175B; beyond it somebody has mistyped


def config_for_size(
    size: str | int, vocab_size: int, context_length: int, architecture: str = "qwen3", **overrides: Any
) -> ModelConfig:
    """The configuration of a model of `size` ("d6", "6" or 6); `overrides` are fields of it that win.

    Raises GroundupError for a size that is none, and for sizes that do not fit together.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    for name in ("n_layers", "d_model", "n_heads", "d_head"):
        if given.get(name, 1) < 1:
            raise GroundupError(f"{name} {given[name]} must be at least 1")
    depth = given.pop("n_layers", None) or _depth(size)
    d_model = given.pop("d_model", WIDTH_PER_LAYER * depth)
    d_head = given.pop("d_head", None) or _head_width(d_model, given.get("n_heads"))
    n_heads = given.pop("n_heads", None) or _number_of_heads(d_model, d_head)
    module = architecture_module(architecture)
    values = {
        "architecture": architecture,
        "vocab_size": vocab_size,
        "context_length": context_length,
        "n_layers": depth,
        "d_model": d_model,
        "d_head": d_head,
        "n_heads": n_heads,
    }
    values |= module.derived_sizes(depth, d_model, n_heads, vocab_size, context_length)
    return module.Config.build(values | given, source=f"size {size}")


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
