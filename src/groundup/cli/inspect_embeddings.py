"""`groundup inspect embeddings`: see which tokens a model holds alike."""

from __future__ import annotations

import click

from groundup.cli._views import html_option, show


@click.command(short_help="See which tokens a model holds alike.")
@click.argument("model")
@click.argument("text", nargs=-1, required=True)
@html_option
def command(model, text, html) -> None:
    """Which tokens MODEL holds most alike to those of TEXT.

    MODEL is a run folder, a model folder, or a hub name.
    """
    from groundup.generation.text_model import load
    from groundup.inspect.embeddings import embeddings_html, embeddings_terminal

    opened, words = load(model), " ".join(text)
    parts = (opened.model, opened.tokenizer, words)
    show(embeddings_terminal(*parts), html, lambda: embeddings_html(*parts))
