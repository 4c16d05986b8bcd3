"""`groundup tokenizer compare`: several tokenizers on the same texts."""

from __future__ import annotations

import click

from groundup.cli._options import NAME
from groundup.cli._views import html_option, show


@click.command(short_help="Compare tokenizers on texts.")
@click.argument("tokenizers", nargs=-1, required=True, metavar="TOKENIZER...", type=NAME)
@click.option(
    "--text",
    "texts",
    multiple=True,
    required=True,
    metavar="[LABEL=]PATH",
    help="A file or folder; repeat it for more.",
)
@click.option("--max-bytes", default="2M", show_default=True, help="Read at most so much of each text.")
@html_option
def command(tokenizers, texts, max_bytes, html) -> None:
    """Cut the same texts with each TOKENIZER: bytes per token, tokens per word, entries used, what is unknown or lost, speed.

    A TOKENIZER is a tokenizer, model or run folder, a vocabulary file of any common kind, or a hub model. Each file is a row, named
    after itself; LABEL=PATH names a file or a whole folder, for instance by its language.
    """
    from groundup.core.config import parse_count
    from groundup.core.errors import GroundupError
    from groundup.core.progress import Terminal
    from groundup.inspect.tokenizer_comparison import compare_tokenizers, comparison_html, comparison_terminal, labelled

    try:
        most = parse_count(max_bytes)
    except ValueError as error:
        raise GroundupError(f"--max-bytes: {error}") from None
    found = compare_tokenizers(tokenizers, labelled(texts), max_bytes=most, reporter=Terminal())
    show(comparison_terminal(found), html, lambda: comparison_html(found))
