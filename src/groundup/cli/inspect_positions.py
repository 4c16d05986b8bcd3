"""`groundup inspect positions`: what models are told about where a token stands."""

from __future__ import annotations

import click

from groundup.cli._views import html_option, show


@click.command(short_help="See what a model is told about positions: sinusoids, rotary angles, linear biases.")
@click.option("--n-positions", type=int, default=64, show_default=True, help="Positions to look at.")
@click.option("--d-model", type=int, default=64, show_default=True, help="Numbers of the embedding, for sinusoids.")
@click.option("--d-head", type=int, default=32, show_default=True, help="Numbers of a head, for rotary angles.")
@click.option("--n-heads", type=int, default=8, show_default=True, help="Heads, for linear biases (ALiBi).")
@click.option("--rope-theta", type=float, default=10_000.0, show_default=True, help="Base of the rotary wavelengths.")
@html_option
def command(html, **sizes) -> None:
    """What each way of telling positions makes of the distance between two tokens; as a page, also the tables themselves."""
    from groundup.inspect.positions import Positions, positions_html, positions_terminal

    chosen = Positions(**sizes)
    show(positions_terminal(chosen), html, lambda: positions_html(chosen))
