"""Flags made from a `Config`: its fields are the flags, its descriptions the help, pydantic the only judge of values."""

from __future__ import annotations

import shlex
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from groundup.core.config import C, Config, read_yaml
from groundup.core.errors import GroundupError


class _Place(click.Path):
    """A path, or a name that may be one. An empty one, as an unset variable leaves it, would mean the folder we are in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("the name is empty; write . for the folder you are in", param, ctx)
        return super().convert(value, param, ctx)


PATH, NAME = _Place(path_type=Path), _Place(path_type=str)


def shell(*places: str | Path) -> str:
    """Names as they are to be typed in a command that is printed."""
    return shlex.join(str(place) for place in places)


def config_options(
    config: type[Config], skip: Iterable[str] = (), defaults: Mapping[str, Any] | None = None
) -> Callable:
    """Give a click command one flag for each field of `config`, to be repeated where it is a tuple; not given: None, or ().

    `defaults` are those of the command where they are not the config's, to be shown.
    """
    fields = [(name, field) for name, field in config.model_fields.items() if name not in set(skip)]

    def decorate(function: Callable) -> Callable:
        for name, field in reversed(fields):
            flag, default = "--" + name.replace("_", "-"), (defaults or {}).get(name, field.default)
            if _is_flag(field.annotation):
                option = click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=_help(field, default))
            elif typing.get_origin(field.annotation) is dict:
                extra = {"metavar": "NAME=VALUE", "callback": _mapping, "help": field.description}
                option = click.option(flag, name, multiple=True, **extra)
            else:
                extra = field.json_schema_extra
                metavar = extra["metavar"] if isinstance(extra, dict) else _metavar(name, field.annotation)
                many = typing.get_origin(field.annotation) is tuple
                option = click.option(flag, name, type=str, multiple=many, metavar=metavar, help=_help(field, default))
            function = option(function)
        return function

    return decorate


def config_from(config: type[C], file: Path | None, flags: dict[str, Any]) -> C:
    """The settings in a YAML file and the flags a person gave; flags win, in a mapping key by key.

    Raises `GroundupError` naming every mistake.
    """
    chosen = given(flags)
    if file is None:
        return config.build(chosen, source="the flags")
    values = read_yaml(file)
    for name, value in chosen.items():
        both = isinstance(value, dict) and isinstance(values.get(name), dict)
        values[name] = values[name] | value if both else value
    return config.build(values, source=str(file))


def key_values(flag: str, values: Iterable[str], form: str = "KEY=VALUE") -> dict[str, str]:
    """`("text=body",)` as `{"text": "body"}`, as a flag that may be given more than once collects it."""
    pairs = [value.partition("=") for value in values]
    for key, equals, value in pairs:
        if not key or not value:
            raise GroundupError(f"{flag} {key}{equals}{value}: write {form}")
    return {key: value for key, _, value in pairs}


def _mapping(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any] | None:
    """`("window=64",)` as `{"window": 64}`: values as YAML would read them; None when nothing was given."""
    pairs = key_values(param.opts[0], values, "NAME=VALUE")
    try:
        return {key: yaml.safe_load(value) for key, value in pairs.items()} or None
    except yaml.YAMLError as error:
        raise GroundupError(f"{param.opts[0]} {' '.join(values)}: {error}") from None


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Only the flags a person gave."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def _choices(annotation: object) -> list[object]:
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return list(typing.get_args(annotation))
    if origin in (typing.Union, types.UnionType):
        return [choice for part in typing.get_args(annotation) for choice in _choices(part)]
    return []


def _is_flag(annotation: object) -> bool:
    return annotation is bool or set(typing.get_args(annotation)) == {bool, type(None)}


def _metavar(name: str, annotation: object) -> str:
    choices = _choices(annotation)
    return "|".join(str(choice) for choice in choices) if choices else name.split("_")[-1].upper()


def _help(field, default: Any) -> str:
    text = field.description or ""
    return text if default is None or default == () else f"{text}  [default: {default}]"
