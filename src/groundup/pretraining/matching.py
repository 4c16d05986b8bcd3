"""Models of different kinds with equally many parameters: each on its own dial, then its width until the number is near.

The one idea: a comparison must not be one of sizes. All parameters are counted, tables too, since that is what a model
takes to keep. The depth is the one whose model on the architecture's own dial comes nearest; there the width is moved, and
only when it leaves more than `NEAR` are the depths beside tried.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from groundup.core.errors import GroundupError
from groundup.models import ModelConfig, config_for_size
from groundup.models.sizes import DEEPEST, WIDTH_PER_LAYER

NEAR = 0.1
WIDTH_STEP = 16


@dataclass(frozen=True)
class Matched:
    """The sizes of one model, and how far it is from the number asked for."""

    config: ModelConfig
    target: int

    @property
    def n_parameters(self) -> int:
        return self.config.n_parameters()

    @property
    def off(self) -> float:
        """Its parameters over those asked for, less one."""
        return self.n_parameters / self.target - 1


def match_parameters(architecture: str, target: int, vocab_size: int, context_length: int, **overrides: Any) -> Matched:
    """The model of an architecture that comes nearest to `target` parameters; raises GroundupError when none can be built."""

    def build(depth: int, width: int | None = None) -> ModelConfig | None:
        try:
            return config_for_size(depth, vocab_size, context_length, architecture, d_model=width, **overrides)
        except GroundupError:
            return None  # a width its heads do not divide, for instance

    def error(config: ModelConfig) -> float:
        return abs(math.log(config.n_parameters() / target))

    on_dial: dict[int, ModelConfig] = {}
    for depth in range(1, DEEPEST + 1):
        if config := build(depth):
            on_dial[depth] = config
            if config.n_parameters() > 4 * target:
                break
    if not on_dial:
        config_for_size(1, vocab_size, context_length, architecture, **overrides)  # tells what is wrong
    nearest = min(on_dial, key=lambda depth: error(on_dial[depth]))

    def best_at(depth: int) -> ModelConfig:
        widths = range(WIDTH_STEP, 4 * WIDTH_PER_LAYER * depth + 1, WIDTH_STEP)
        built = [on_dial[depth], *(config for width in widths if (config := build(depth, width)))]
        return min(built, key=error)  # the dial's own where it is as near

    best = best_at(nearest)
    for depth in (nearest - 1, nearest + 1):
        if error(best) > NEAR and depth in on_dial:
            best = min(best, best_at(depth), key=error)
    return Matched(best, target)
