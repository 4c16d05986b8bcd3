"""`groundup inspect embeddings`: see which tokens a model holds alike."""

from __future__ import annotations

import click

from groundup.cli._options import NAME
from groundup.cli._views import html_option, show


@click.command(short_help="See which tokens a model holds alike, before and after training.")
@click.argument("model", type=NAME)
@click.argument("text", nargs=-1)
@html_option
def command(model, text, html) -> None:
    """Which tokens MODEL holds most alike to those of TEXT, or to some frequent words when there is no TEXT.

    Of a run folder also those before training, whose weights are made again from the run's seed. The page draws the tokens
    in the plane; point at one for its name. MODEL is a run folder, a model folder, or a hub name.
    """
    from groundup.generation.text_model import load
    from groundup.inspect.embeddings import embeddings_html, embeddings_terminal, initial_model

    opened, words = load(model), " ".join(text) if text else None
    before = initial_model(model, opened.model)
    parts = (opened.model, opened.tokenizer, words)
    show(embeddings_terminal(*parts, before=before), html, lambda: embeddings_html(*parts, before=before))
    if before is None:
        click.echo(f"note        {model} is not a run folder, so what came before training is not known")
