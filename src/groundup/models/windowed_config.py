"""Models of which some layers see only the newest tokens of a text, and the others all of it.

A window bounds the work of a layer; what lies further back reaches a token through the layers below, each a window
further, and through the layers that see everything (Beltagy et al. 2020, "Longformer", section 3.1; Jiang et al. 2023,
"Mistral 7B", section 2). Files of the Qwen family have windows from some layer on, those of the Gemma family in all but
every so-manieth layer; new files of both name the type of each layer.
"""

from __future__ import annotations

from typing import Any

import pydantic

from groundup.core.errors import GroundupError
from groundup.models.rotary_config import RotaryConfig
from groundup.models.weights import ForeignConfig

FULL, WINDOWED = "full_attention", "sliding_attention"


class WindowedConfig(RotaryConfig):
    """The sizes of a model with rotary positions and windows in some or all layers."""

    window: int | None = pydantic.Field(None, ge=1, description="tokens a token sees, itself among them; None: all")
    windowed_layers: tuple[pydantic.NonNegativeInt, ...] | None = pydantic.Field(
        None, description="layers that have the window, counted from 0; None: all"
    )

    @pydantic.model_validator(mode="after")
    def _windows_are_there(self) -> WindowedConfig:
        layers = self.windowed_layers
        if layers is not None and self.window is None:
            raise ValueError("windowed_layers mean nothing without a window; give window, or leave them out")
        if layers is not None and (not layers or sorted(set(layers)) != list(layers) or layers[-1] >= self.n_layers):
            raise ValueError(
                f"windowed_layers {list(layers)} must be some of the layers 0 to {self.n_layers - 1}, in order"
            )
        return self

    def window_of(self, layer: int) -> int | None:
        """How many tokens a token sees in a layer, None for all."""
        return self.window if self.windowed_layers is None or layer in self.windowed_layers else None


def windows_from(settings: ForeignConfig, n_layers: int) -> dict[str, Any]:
    """The two fields of a `WindowedConfig` in a config.json; raises GroundupError for layers of another type."""
    window, first = settings.take("sliding_window"), settings.take("max_window_layers", 28)
    window = window if settings.take("use_sliding_window", False) else None
    by_rule = [WINDOWED if window is not None and layer >= first else FULL for layer in range(n_layers)]
    return _windows(window, settings.take("layer_types", by_rule), n_layers)


def windows_but_every(n: int, settings: ForeignConfig, n_layers: int) -> dict[str, Any]:
    """As `windows_from`, for files whose layers have windows, all but each `n`th, unless they name their types."""
    by_rule = [WINDOWED if (layer + 1) % n else FULL for layer in range(n_layers)]
    return _windows(settings.take("sliding_window"), settings.take("layer_types", by_rule), n_layers)


def _windows(window: int | None, types: list[str], n_layers: int) -> dict[str, Any]:
    if other := set(types) - {FULL, WINDOWED}:
        raise GroundupError(
            f"config.json asks for layer_types {sorted(other)}; only {FULL!r} and {WINDOWED!r} are supported here"
        )
    if len(types) != n_layers:
        raise GroundupError(f"config.json has {len(types)} layer_types for {n_layers} layers")
    layers = tuple(layer for layer in range(n_layers) if types[layer] == WINDOWED)
    if layers and window is None:
        raise GroundupError(
            f"config.json asks for {WINDOWED!r} in its layer_types, but has use_sliding_window off or no sliding_window, "
            "so it does not say how far such a layer sees"
        )
    return {"window": window if layers else None, "windowed_layers": layers if 0 < len(layers) < n_layers else None}


def windows_to(config: WindowedConfig) -> dict[str, Any]:
    """The inverse of `windows_from`; the rule by which older tools find the windows is kept where it can say them."""
    windowed = [layer for layer in range(config.n_layers) if config.window_of(layer) is not None]
    return {
        "use_sliding_window": config.window is not None,
        "sliding_window": config.window,
        "max_window_layers": windowed[0] if windowed else config.n_layers,
        "layer_types": layer_types(config),
    }


def layer_types(config: WindowedConfig) -> list[str]:
    """The type of each layer, as files name them."""
    return [FULL if config.window_of(layer) is None else WINDOWED for layer in range(config.n_layers)]
