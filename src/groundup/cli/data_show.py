"""`groundup data show`: what a training would read, as the model reads it."""

from __future__ import annotations

import click

from groundup.cli._options import PATH
from groundup.cli._views import html_option, show


@click.command(short_help="Show what a training reads: when the input is ..., the target is ...")
@click.argument("data", required=False, type=PATH)
@click.option(
    "--chat", metavar="MODEL", help="DATA is a file of conversations: show what MODEL, or a run, learns of it."
)
@click.option(
    "--template", help="With --chat: chatml, alpaca, llama3, phi, own or a .jinja file; the model's own if left out."
)
@click.option("--mix", multiple=True, metavar="NAME=FOLDER:WEIGHT", help="A source of a mixture, instead of DATA.")
@click.option("--mix-alpha", type=float, help="Shares of a mixture without weights: sizes to this power.")
@click.option(
    "--window",
    default=0,
    show_default=True,
    help="Which window, packed row or conversation; of a mixture, which of the training.",
)
@click.option("--count", default=1, show_default=True, help="How many of them.")
@click.option("--context-length", type=int, help="Tokens in a row; 64, or those of the run, if left out.")
@click.option("--stride", type=int, help="Tokens between the starts of windows; the context length if left out.")
@click.option("--packing", help="windows, best-fit or concatenate; windows, or that of the run, if left out.")
@click.option("--split", type=click.Choice(["train", "validation"]), help="Which split; train if left out.")
@html_option
def command(data, chat, template, mix, mix_alpha, window, count, context_length, stride, packing, split, html) -> None:
    """Show what a training reads of DATA (a prepared folder, or a run): the lengths of its documents, what is cut, and rows
    with input and target side by side, a colour for each document.

    With --chat, DATA is a file of conversations in any format that is known: how long they are by the model's template and
    tokenizer, what a context length would cut, what cannot be learned from and why, and conversations token by token, what is
    learned on green.
    """
    if chat is not None:
        _show_conversations(
            data, chat, template, window, count, context_length, html, mix, mix_alpha, stride, packing, split
        )
        return
    from groundup.core.errors import GroundupError
    from groundup.inspect.data import data_html, data_terminal
    from groundup.pretraining.showing import rows_to_show

    if template is not None:
        raise GroundupError(f"--template {template} has no effect without --chat MODEL")
    seen = rows_to_show(
        data,
        mix=mix,
        mix_alpha=mix_alpha,
        context_length=context_length,
        stride=stride,
        packing=packing,
        first=window,
        count=count,
        split=split or "train",
    )
    show(data_terminal(*seen), html, lambda: data_html(*seen))


def _show_conversations(data, model, template, window, count, context_length, html, *others) -> None:
    from groundup.checkpoints.tokenizer_folder import open_renderer
    from groundup.core.errors import GroundupError
    from groundup.inspect.chat import chat_html, chat_terminal, look_at_conversations

    flags = ("--mix", "--mix-alpha", "--stride", "--packing", "--split")
    useless = [flag for flag, value in zip(flags, others, strict=True) if value not in (None, ())]
    if useless:
        raise GroundupError(f"{', '.join(useless)}: no effect with --chat, which shows a file of conversations")
    if data is None:
        raise GroundupError("--chat needs a file of conversations: groundup data show --chat MODEL conversations.jsonl")
    renderer = open_renderer(model, template)
    seen = look_at_conversations(data, renderer, first=window, count=count, context_length=context_length)
    show(chat_terminal(seen, renderer), html, lambda: chat_html(seen, renderer))
