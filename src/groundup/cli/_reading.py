"""The flags that say how files of text are read, the same on every command that reads some."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import click

from groundup.cli._options import config_options, given, key_values
from groundup.pretraining.config import PretrainConfig

READING = ("text_field", "separator", "format", "encoding", "on_bad_row")


def _pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    """`("text=body",)` as `{"text": "body"}`; None when nothing was given."""
    return key_values("--map", values, "OURS=THEIRS, as in --map text=body") if values else None


map_option = click.option(
    "--map",
    "map",
    multiple=True,
    callback=_pairs,
    metavar="OURS=THEIRS",
    help="What the files call a field, as text=body or text=question+answer (may be given more than once).",
)


def reading_options(function: Callable, names: tuple[str, ...] = READING) -> Callable:
    """Give a command the flags of reading; those that were given arrive together, as its argument `reading`."""

    @wraps(function)
    def command(**arguments):
        reading = given({name: arguments.pop(name) for name in (*names, "map")})
        return function(reading=reading, **arguments)

    skipped = set(PretrainConfig.model_fields) - set(names)
    return config_options(PretrainConfig, skip=skipped)(map_option(command))


def looking_options(function: Callable) -> Callable:
    """The same flags for a command that looks only: rows that cannot be used are always counted there."""
    return reading_options(function, tuple(name for name in READING if name != "on_bad_row"))
