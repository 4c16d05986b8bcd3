"""The flags of `data inspect` and `data clean`: the settings of cleaning, pairs as `name=value`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from groundup.cli._options import PATH, config_options, given
from groundup.cli._reading import map_option
from groundup.core.config import read_yaml
from groundup.core.errors import GroundupError
from groundup.data.cleaning.settings import CleanConfig

_SEVERAL = ("against", "block")
_PAIRS = ("privacy", "thresholds")
_SAID = {  # where a flag is written otherwise than the setting
    "thresholds": "Other bounds for a rule, as word_count=20: or top_2_gram=:0.5.",
    "privacy": "What is done about a kind of personal data (email phone card iban ip key): mask, drop or report.",
}


def cleaning_options(usual_rules: str, skip: Iterable[str] = ()) -> Callable:
    """Give a click command the flags of `CleanConfig`, `--config` and `--workers`; `usual_rules` names its default."""
    skip = set(skip)

    def decorate(function: Callable) -> Callable:
        fields = CleanConfig.model_fields
        function = click.option("--workers", type=click.IntRange(1, 1024), help="Processes; all cores if left out.")(
            function
        )
        for name, metavar, flag in (
            ("thresholds", "RULE=LOW:HIGH", "--threshold"),
            ("privacy", "KIND=ACTION", "--privacy"),
            ("block", "STRING", "--block"),
            ("against", "FILE", "--against"),
        ):
            text = f"{_SAID.get(name) or fields[name].description} May be given several times."
            function = click.option(flag, name, multiple=True, metavar=metavar, help=text)(function)
        function = config_options(CleanConfig, skip={*skip, "rules", "map", *_SEVERAL, *_PAIRS})(function)
        text = f"Groups of rules and edits, by name, as default,gopher.  [default: {usual_rules}]"
        function = click.option("--rules", metavar="NAMES", help=text)(function)
        function = map_option(function)
        text = "YAML file of settings; flags win over it."
        return click.option("--config", "config_file", type=PATH, help=text)(function)

    return decorate


def settings_from(values: dict[str, Any], default_rules: tuple[str, ...] | None = None) -> CleanConfig:
    """The settings in the YAML file, if one is named, and the flags; flags win."""
    file = values.pop("config_file")
    chosen: dict[str, Any] = given({n: v for n, v in values.items() if n not in (*_SEVERAL, *_PAIRS)})
    for name in _SEVERAL:
        if values[name]:
            chosen[name] = tuple(values[name])
    if values["privacy"]:
        chosen["privacy"] = dict(_pair(text, "--privacy", "email=drop") for text in values["privacy"])
    if values["thresholds"]:
        pairs = (_pair(text, "--threshold", "word_count=20:") for text in values["thresholds"])
        chosen["thresholds"] = {name: _bounds(name, bounds) for name, bounds in pairs}
    from_file = read_yaml(file) if file is not None else {}
    if default_rules is not None and "rules" not in chosen and "rules" not in from_file:
        chosen["rules"] = default_rules
    return CleanConfig.build(from_file | chosen, source=str(file) if file is not None else "the flags")


def _pair(text: str, flag: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise GroundupError(f"{flag} {text!r} is no pair; write {flag} {example}")
    return name, value


def _bounds(name: str, text: str) -> tuple[float | None, float | None]:
    low, colon, high = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return (float(low) if low else None, float(high) if high else None)
    except ValueError:
        raise GroundupError(
            f"--threshold {name}={text!r} holds no bounds; write {name}=LOW:HIGH, one of which may be left out"
        ) from None
