"""A file in models/ that defines Model is an architecture; nothing else is."""

from __future__ import annotations

import pytest

from groundup.core.errors import GroundupError
from groundup.models import architecture, architecture_names, build_model, config_for_size


def test_the_architectures() -> None:
    assert {"gpt2", "qwen3"} <= set(architecture_names())
    assert not {"base", "sizes", "state", "weights", "layers", "discovery"} & set(architecture_names())


@pytest.mark.parametrize("name", architecture_names())
def test_a_name_is_its_module(name: str) -> None:
    module = architecture(name)
    assert module.__name__ == f"groundup.models.{name}"
    model = build_model(config_for_size("d1", 50, 8, name))
    assert isinstance(model, module.Model)
    assert model.config.architecture == name


def test_a_name_that_is_none() -> None:
    with pytest.raises(GroundupError, match=r"unknown architecture 'base' .*gpt2, .*qwen3"):
        architecture("base")
