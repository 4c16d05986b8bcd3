"""Showing a view: on the terminal, and as a page when a file for it is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from groundup.cli._options import PATH

html_option = click.option("--html", type=PATH, help="Also write a page to this file.")


def show(terminal: Any, html: Path | None, page: Callable[[], str]) -> None:
    """Print a rich renderable; make the page and write it only when `html` names a file."""
    from rich.console import Console

    from groundup.core.files import write_atomically

    Console(highlight=False).print(terminal)
    if html is not None:
        write_atomically(html, page())
        click.echo(f"page        {html}")
