"""`groundup quickstart`: a first model and a first assistant in minutes, offline."""

from __future__ import annotations

import click

from groundup.cli._options import PATH


@click.command(short_help="Train a first model in minutes, on text every Python carries, and teach it to answer.")
@click.option("--out", default="runs/quickstart", show_default=True, type=PATH, help="Run folder.")
@click.option(
    "--time", help="Time of the pretraining, 200s if left out; teaching it to answer takes half as long again."
)
def command(out, time) -> None:
    """Train a language model on the documentation of the Python that runs this, offline; then teach it to answer questions about
    the same, and show a short chat.

    Interrupted, run it again: it goes on.
    """
    from groundup.core.progress import Terminal
    from groundup.tour import quickstart

    if quickstart(out, time=time, reporter=Terminal()).interrupted:
        raise SystemExit(130)
