"""The list of architectures and their settings is what there is."""

import io

import pytest
from rich.console import Console

from groundup.core.errors import GroundupError
from groundup.inspect.architectures import architectures_terminal
from groundup.models import architecture_names, own_fields


def shown(renderable):
    out = io.StringIO()
    Console(file=out, width=100).print(renderable)
    return out.getvalue()


def test_every_architecture_has_its_line():
    lines = shown(architectures_terminal()).splitlines()
    found = {line.split()[0] for line in lines if line and not line.startswith(" ")}
    assert set(architecture_names()) <= found


@pytest.mark.parametrize("name", architecture_names())
def test_every_setting_of_an_architecture_is_listed_once(name):
    text = shown(architectures_terminal(name, {"n_layers", "d_model"}))
    words = text.split()
    for field in own_fields(name):
        flag = f"--{field.replace('_', '-')}" if field in ("n_layers", "d_model") else f"{field}="
        assert words.count(flag) == 1, flag
    assert f"--architecture {name}" in text


def test_choices_defaults_and_an_example():
    text = shown(architectures_terminal("custom"))
    assert "learned | sinusoidal | rotary" in text
    assert "--model positions=learned" in text
    with pytest.raises(GroundupError, match="did you mean 'custom'"):
        architectures_terminal("costum")
