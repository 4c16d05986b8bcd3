"""`groundup inspect next`: see what a model expects next."""

from __future__ import annotations

import click

from groundup.cli._options import NAME
from groundup.cli._views import html_option, show


@click.command(short_help="See what a model expects next.")
@click.argument("model", type=NAME)
@click.argument("text", nargs=-1, required=True)
@html_option
def command(model, text, html) -> None:
    """What MODEL expects after each token of TEXT: the likeliest next tokens, how sure it is, and what came; then what it
    would have said after each of its layers (the logit lens).

    MODEL is a run folder, a model folder, or a hub name.
    """
    from groundup.core.errors import GroundupError
    from groundup.generation.text_model import load
    from groundup.inspect.next_token import next_token_html, next_token_terminal

    opened, words = load(model), " ".join(text)
    if not words:
        raise GroundupError("the text is empty; give a word or two to see what the model expects after them")
    parts = (opened.model, opened.tokenizer, words)
    show(next_token_terminal(*parts), html, lambda: next_token_html(*parts))
