"""`groundup data show`: what a training would read, as the model reads it."""

from __future__ import annotations

import click

from groundup.cli._options import PATH
from groundup.cli._views import html_option, show


@click.command(short_help="Show what a training reads: when the input is ..., the target is ...")
@click.argument("data", required=False, type=PATH)
@click.option("--mix", multiple=True, metavar="NAME=FOLDER:WEIGHT", help="A source of a mixture, instead of DATA.")
@click.option("--mix-alpha", type=float, help="Shares of a mixture without weights: sizes to this power.")
@click.option(
    "--window", default=0, show_default=True, help="Which window or packed row; of a mixture, which of the training."
)
@click.option("--count", default=1, show_default=True, help="How many of them.")
@click.option("--context-length", type=int, help="Tokens in a row; 64, or those of the run, if left out.")
@click.option("--stride", type=int, help="Tokens between the starts of windows; the context length if left out.")
@click.option("--packing", help="windows, best-fit or concatenate; windows, or that of the run, if left out.")
@click.option("--split", type=click.Choice(["train", "validation"]), default="train", show_default=True)
@html_option
def command(data, mix, mix_alpha, window, count, context_length, stride, packing, split, html) -> None:
    """Show what a training reads of DATA (a prepared folder, or a run): the lengths of its documents, what is cut, and rows
    with input and target side by side, a colour for each document.
    """
    from groundup.inspect.data import data_html, data_terminal
    from groundup.pretraining.showing import rows_to_show

    seen = rows_to_show(
        data,
        mix=mix,
        mix_alpha=mix_alpha,
        context_length=context_length,
        stride=stride,
        packing=packing,
        first=window,
        count=count,
        split=split,
    )
    show(data_terminal(*seen), html, lambda: data_html(*seen))
