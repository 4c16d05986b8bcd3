"""The architectures there are and what can be set in each: read from their configurations, so it cannot be out of date."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Collection
from typing import Any

from pydantic.fields import FieldInfo
from rich.console import Group, RenderableType
from rich.text import Text

from groundup.inspect.terminal import terminal_table
from groundup.models import AttentionConfig, architecture, architecture_names, own_fields
from groundup.models.discovery import known_elsewhere


def architectures_terminal(name: str | None = None, flags: Collection[str] = ()) -> RenderableType:
    """A line for each architecture; with a `name`, its settings and how each is given.

    `flags` are the settings that are flags of their own in `groundup pretrain`. Raises GroundupError for no such name.
    """
    if name is None:
        rows = [(each, _idea(each), "" if known_elsewhere(each) else "Groundup only") for each in architecture_names()]
        return Group(
            terminal_table(("architecture", "what it is", "opens in"), rows),
            Text(),
            Text("Settings of one: groundup inspect architectures NAME"),
        )
    module = architecture(name)
    own = own_fields(name)
    rows = []
    for field_name in sorted(own, key=lambda field: field in AttentionConfig.model_fields):
        field = own[field_name]
        flag = f"--{field_name.replace('_', '-')}" if field_name in flags else f"{field_name}="
        rows.append((flag, _values(field), _default(field), field.description or ""))
    return Group(
        Text(name, "bold"),
        Text(" ".join(inspect.cleandoc(module.__doc__ or "").split("\n\n")[0].split())),
        Text(),
        terminal_table(("setting", "values", "default", "what it is"), rows),
        Text(),
        Text(
            f"As flags of groundup pretrain: --architecture {name}{_example(own, flags)}\n"
            "NAME= is given as --model NAME=VALUE; in YAML and Python it stands under `model`. Derived: from the size."
        ),
    )


def _idea(name: str) -> str:
    """The first sentence of an architecture's file, without its name."""
    first = inspect.cleandoc(architecture(name).__doc__ or "").split("\n\n")[0]
    title, _, idea = " ".join(first.split()).partition(": ")
    return idea if idea and len(title.split()) < 3 else first


def _values(field: FieldInfo) -> str:
    """What a field takes, as a person would write it."""
    kinds = [field.annotation, *typing.get_args(field.annotation)]
    for kind in kinds:
        if typing.get_origin(kind) is typing.Literal:
            return " | ".join(str(choice) for choice in typing.get_args(kind))
    names = {int: "whole number", float: "number", bool: "true | false"}
    found = [names[kind] for kind in kinds if isinstance(kind, type) and kind in names]
    return found[0] if found else "several, as {name: value}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "derived"
    if field.default is None:
        return "none"
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def _example(own: dict[str, FieldInfo], flags: Collection[str]) -> str:
    """The first setting that is the architecture's own and has choices, as it would be given."""
    for name, field in own.items():
        values: tuple[Any, ...] = typing.get_args(field.annotation)
        others = [value for value in values if value != field.default]
        if name not in flags and typing.get_origin(field.annotation) is typing.Literal and others:
            return f" --model {name}={others[0]}"
    return ""
