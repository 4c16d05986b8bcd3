"""`groundup tokenizer show`: text as the model sees it."""

from __future__ import annotations

import click

from groundup.cli._options import NAME
from groundup.cli._views import html_option, show


@click.command(short_help="Show how a text is cut into tokens.")
@click.argument("tokenizer", type=NAME)
@click.argument("text", nargs=-1, required=True)
@html_option
def command(tokenizer, text, html) -> None:
    """Cut TEXT into tokens with TOKENIZER (a tokenizer, model, data or run folder, a
    vocabulary file of any common kind, or a hub model): each piece with its id, its bytes and its place in the text."""
    from groundup.checkpoints.tokenizer_folder import open_tokenizer
    from groundup.core.progress import Terminal
    from groundup.inspect.tokens import tokens_html, tokens_terminal

    loaded, words = open_tokenizer(tokenizer, reporter=Terminal()), " ".join(text)
    show(tokens_terminal(loaded, words), html, lambda: tokens_html(loaded, words))
