"""`groundup data example`: real text to begin with, on a machine with no network."""

from __future__ import annotations

import click

from groundup.cli._options import PATH, shell


@click.command(short_help="Write the text every Python carries into a folder.")
@click.argument("folder", type=PATH)
def command(folder) -> None:
    """Write the documentation of the Python that runs this into FOLDER, one text file a document: real text, offline."""
    from groundup.core.progress import Terminal
    from groundup.pretraining.quickstart_text import write_quickstart_text

    reporter = Terminal()
    found = write_quickstart_text(folder)
    reporter.say(f"text        {folder}: {found}")
    reporter.say(f"next        groundup tokenizer train {shell(folder)} --vocab-size 2048 --out tok/")
