"""`groundup inspect model`: a model part by part."""

from __future__ import annotations

import click

from groundup.cli._options import NAME
from groundup.cli._views import html_option, show


@click.command(short_help="See a model part by part, and what it costs.")
@click.argument("model", type=NAME)
@html_option
def command(model, html) -> None:
    """The parts of MODEL with their shapes and parameters, what a token costs, and the memory to run and to train it.

    The page draws how the parts are joined, as seen in a forward pass.

    MODEL is a run folder, a model folder, or a hub name.
    """
    from groundup.generation.text_model import load
    from groundup.inspect.architecture import architecture_html, architecture_terminal

    opened = load(model).model
    show(architecture_terminal(opened), html, lambda: architecture_html(opened))
