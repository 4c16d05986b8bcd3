"""`groundup chat`: talk with a model."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import click

from groundup.cli._options import NAME, config_options, given
from groundup.generation.settings import SamplingSettings

if TYPE_CHECKING:
    from groundup.generation.chatting import Chat

MAX_NEW_TOKENS = 512
COMMANDS = "/reset begins anew, /system TEXT begins anew under TEXT, /exit (or Ctrl-D) ends; // begins a message with /"


@click.command(short_help="Talk with a model.")
@click.argument("model", type=NAME)
@click.option("--prompt", help="One message; print the answer and end.")
@click.option("--system", help="What the model is told before the conversation.")
@click.option(
    "--template", help="chatml, alpaca, llama3, phi or a .jinja file, for a model that has no template of its own."
)
@config_options(SamplingSettings, skip=("stop",), defaults={"max_new_tokens": MAX_NEW_TOKENS})
@click.option("--stop", multiple=True, help="End an answer before this text (may be given more than once).")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "int8"]),
    default="fp32",
    show_default=True,
    help="int8: 8-bit weights, the fastest on a CPU, at a small loss.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--base", help="Where the base of an adapter lies, if it is not where its files say.")
def command(model, prompt, system, template, stop, precision, device, base, **settings) -> None:
    """Talk with MODEL (a run folder, a model folder, or a hub name).

    Ctrl-C stops an answer, Ctrl-D or /exit ends the conversation, /reset begins a new one, /system TEXT gives it another system
    message. When the context is full the oldest turns are forgotten, and said. From a pipe, every line is a message.
    """
    from rich.console import Console

    from groundup.core.progress import Terminal
    from groundup.generation.chatting import Chat
    from groundup.generation.text_model import load

    chosen = {"max_new_tokens": MAX_NEW_TOKENS} | given(settings) | ({"stop": list(stop)} if stop else {})
    chosen = SamplingSettings.build(chosen, source="groundup chat").model_dump()
    notes = Terminal(Console(stderr=True, highlight=False))
    chat = Chat(
        load(model, base=base, precision=precision, device=device, template=template, reporter=notes),
        system=system,
        reporter=notes,
        **chosen,
    )
    if prompt is not None:
        _answer(chat, prompt)
        return
    if sys.stdin.isatty():
        click.echo(f"{model}: {COMMANDS}", err=True)
    _converse(chat, _typed() if sys.stdin.isatty() else _piped())


def _converse(chat: Chat, messages: Iterator[str]) -> None:
    from groundup.core.errors import GroundupError

    for message in messages:
        word, _, rest = message.strip().partition(" ")
        if word in ("/exit", "/quit"):
            return
        if word == "/reset":
            chat.begin(chat.system)
            click.echo("a new conversation", err=True)
        elif word == "/system":
            chat.begin(rest.strip() or None)
            click.echo("a new conversation under another system message", err=True)
        elif word.startswith("/") and not word.startswith("//"):
            click.echo(COMMANDS, err=True)
        elif word:
            try:
                _answer(chat, message.strip().removeprefix("/") if word.startswith("//") else message.strip())
            except GroundupError as error:
                click.echo(f"error: {error}", err=True)


def _answer(chat: Chat, message: str) -> None:
    """Write an answer as it comes; Ctrl-C ends it and not the conversation."""
    with closing(chat.ask(message)) as pieces:  # pyright: ignore[reportArgumentType] - a generator
        try:
            for piece in pieces:
                click.echo(_harmless(piece), nl=False)
                sys.stdout.flush()
        except KeyboardInterrupt:
            click.echo(" ...", nl=False)
    click.echo()


def _harmless(text: str) -> str:
    """What a model writes may move no cursor and set no title: control characters show as U+FFFD."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) != "Cc" else "\ufffd" for c in text)


def _typed() -> Iterator[str]:
    """What a person types, a line a message, until Ctrl-D."""
    import readline  # noqa: F401 - brings editing and history to input()

    while True:
        try:
            yield input("\nyou: ")
        except KeyboardInterrupt:
            click.echo("\n(Ctrl-D or /exit ends)", err=True)
        except EOFError:
            click.echo()
            return


def _piped() -> Iterator[str]:
    yield from (line.rstrip("\n") for line in sys.stdin)
