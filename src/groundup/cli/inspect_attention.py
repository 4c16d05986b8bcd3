"""`groundup inspect attention`: see what the attention heads look at."""

from __future__ import annotations

import click

from groundup.cli._options import NAME
from groundup.cli._views import html_option, show


@click.command(short_help="See what the attention heads look at.")
@click.argument("model", type=NAME)
@click.argument("text", nargs=-1, required=True)
@click.option("--head", metavar="LAYER.HEAD", help="One head: what each token takes from; large on the page.")
@html_option
def command(model, text, head, html) -> None:
    """What every head of MODEL looks at while it reads TEXT; induction heads and previous-token heads are pointed out.

    Those are found by giving the model random tokens, repeated: an induction head looks at what followed the last time, a
    previous-token head one token back. The page shows each head as a heat map. MODEL is a run folder, a model folder, or
    a hub name.
    """
    from groundup.generation.text_model import load
    from groundup.inspect.attention import attention_html, attention_terminal

    opened, words = load(model), " ".join(text)
    parts = (opened.model, opened.tokenizer, words, head)
    show(attention_terminal(*parts), html, lambda: attention_html(*parts))
