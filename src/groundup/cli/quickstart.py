"""`groundup quickstart`: a first model in minutes, offline."""

from __future__ import annotations

import click

from groundup.cli._options import PATH


@click.command(short_help="Train a first model in minutes, on text every Python carries.")
@click.option("--out", default="runs/quickstart", show_default=True, type=PATH, help="Run folder.")
@click.option("--time", help="Training time; 200s if left out.")
def command(out, time) -> None:
    """Train a language model on the documentation of the Python that runs this, offline, and show what it learned.

    Interrupted, run it again: it goes on.
    """
    from groundup.core.progress import Terminal
    from groundup.pretraining.quickstart import quickstart

    if quickstart(out, time=time, reporter=Terminal()).interrupted:
        raise SystemExit(130)
