"""`groundup data read`: what a corpus is, file by file."""

from __future__ import annotations

import click

from groundup.cli._options import NAME, shell
from groundup.cli._reading import looking_options


@click.command(short_help="Tell what files are: format, rows, rejected rows, encoding, the first record.")
@click.argument("paths", nargs=-1, required=True, type=NAME)
@click.option(
    "--kind",
    type=click.Choice(["document", "conversation", "preference", "labelled"]),
    help="The kind of record to read rows as; recognised if left out.",
)
@looking_options
def command(paths, kind, reading) -> None:
    """Read PATHS (files, folders, s3:// and https:// places, hf:organisation/name) once and tell what they are.

    Nothing is written. Of every file: what it was read as, its rows, how many were rejected and why, its encoding; of every
    format the first record as the later stages get it. Rows that cannot be used are left out and shown.
    """
    from groundup.core.errors import GroundupError
    from groundup.core.progress import Terminal
    from groundup.data.reading_records import read_records
    from groundup.inspect.corpus_files import corpus_terminal, look_at_files

    settings = dict(reading)
    if (field := settings.pop("text_field", None)) is not None:
        if not field:
            raise GroundupError("the text field is empty; name the field that holds the text")
        settings["map"] = {"text": field} | settings.get("map", {})
    records = read_records(paths, kind, **settings)
    with Terminal().bar("reading", sum(source.n_bytes for source in records.sources)) as bar:
        looks = look_at_files(records, bar.advance)
    Terminal().console.print(corpus_terminal(looks, records))
    if all(look.error for look in looks):
        raise GroundupError("none of this could be read; the reasons stand above")
    if not reading and all(look.kind == "document" for look in looks if not look.error):
        click.echo(f"\nnext        groundup tokenizer train {shell(*paths)} --out tok/")
