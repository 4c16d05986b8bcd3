"""`groundup inspect architectures`: what can be trained, and what can be set in each."""

from __future__ import annotations

import click

from groundup.cli._views import show


@click.command(short_help="See the architectures there are, and the settings of one.")
@click.argument("name", required=False)
def command(name) -> None:
    """The architectures that can be trained; with a NAME, its settings, their values and defaults."""
    from groundup.inspect.architectures import architectures_terminal
    from groundup.pretraining.config import PretrainConfig

    show(architectures_terminal(name, set(PretrainConfig.model_fields) - {"model"}), None, str)
