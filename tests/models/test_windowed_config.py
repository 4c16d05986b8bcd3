"""Windows by layer: which layers have one, and how files say so."""

from __future__ import annotations

from typing import Any

import pytest

from groundup.core.errors import GroundupError
from groundup.models import config_for_size
from groundup.models.weights import ForeignConfig
from groundup.models.windowed_config import FULL, WINDOWED, WindowedConfig, windows_from, windows_to


def config(**overrides: Any) -> WindowedConfig:
    made = config_for_size("d4", 100, 64, "qwen2", **overrides)
    assert isinstance(made, WindowedConfig)
    return made


def read(**values: Any) -> dict[str, Any]:
    settings = ForeignConfig({"sliding_window": 4096} | values)
    found = windows_from(settings, 4)
    settings.finish()
    return found


NONE = {"window": None, "windowed_layers": None}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, NONE),
        ({"sliding_window": 32, "max_window_layers": 2}, NONE),  # says nothing while use_sliding_window is off
        ({"use_sliding_window": True, "sliding_window": None}, NONE),
        ({"use_sliding_window": True}, NONE),  # the first 28 layers have none
        ({"use_sliding_window": True, "max_window_layers": 0}, {"window": 4096, "windowed_layers": None}),
        (
            {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 3},
            {"window": 9, "windowed_layers": (3,)},
        ),
        (
            {"use_sliding_window": True, "sliding_window": 9, "layer_types": [WINDOWED, FULL, WINDOWED, FULL]},
            {"window": 9, "windowed_layers": (0, 2)},
        ),
        ({"use_sliding_window": True, "sliding_window": 9, "layer_types": [FULL] * 4}, NONE),
    ],
)
def test_what_files_say(values: dict, expected: dict) -> None:
    assert read(**values) == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"layer_types": [WINDOWED] * 4}, "use_sliding_window off"),
        ({"layer_types": [FULL] * 3}, "3 layer_types for 4 layers"),
        ({"layer_types": ["chunked_attention"] * 4}, "chunked_attention"),
    ],
)
def test_what_files_may_not_say(values: dict, words: str) -> None:
    with pytest.raises(GroundupError, match=words):
        read(**values)


def test_each_layer_knows_its_window_and_old_tools_their_rule() -> None:
    some = config(window=8, windowed_layers=[2, 3])
    assert [some.window_of(layer) for layer in range(4)] == [None, None, 8, 8]
    written = windows_to(some)
    assert written["max_window_layers"] == 2
    assert written["layer_types"] == [FULL, FULL, WINDOWED, WINDOWED]
    assert [config(window=8).window_of(layer) for layer in range(4)] == [8] * 4
    assert windows_to(config())["use_sliding_window"] is False


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"windowed_layers": [1]}, "mean nothing without a window"),
        ({"window": 8, "windowed_layers": [4]}, "layers 0 to 3"),
        ({"window": 8, "windowed_layers": [2, 1]}, "in order"),
        ({"window": 8, "windowed_layers": []}, "some of the layers"),
    ],
)
def test_what_cannot_be(overrides: dict, words: str) -> None:
    with pytest.raises(GroundupError, match=words):
        config(**overrides)
