"""`groundup data show`: a window as the model reads it."""

from __future__ import annotations

from pathlib import Path

import click

from groundup.cli._views import html_option, show


@click.command(short_help="Show a window: when the input is ..., the target is ...")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--window", default=0, show_default=True, help="Which window.")
@click.option("--context-length", type=int, default=64, show_default=True, help="Tokens in a window.")
@click.option("--stride", type=int, help="Tokens between the starts of windows; the context length if left out.")
@click.option("--split", type=click.Choice(["train", "validation"]), default="train", show_default=True)
@html_option
def command(data, window, context_length, stride, split, html) -> None:
    """Show what the model reads of DATA (a prepared folder, or a run that prepared its own), input and target side by side."""
    from groundup.core.errors import GroundupError
    from groundup.data.store import MANIFEST, TokenStore
    from groundup.data.windows import Windows
    from groundup.inspect.windows import windows_html, windows_terminal
    from groundup.tokenization.tokenizer import Tokenizer

    if not (data / MANIFEST).exists() and (data / "data" / MANIFEST).exists():
        data = data / "data"
    store = TokenStore.open(data)
    windows = Windows(store.split(split), context_length, stride)
    if not 0 <= window < len(windows):
        raise GroundupError(f"--window {window}: the {split} split has windows 0 to {len(windows) - 1:,}")
    tokenizer = Tokenizer.load(store.tokenizer_folder)
    show(windows_terminal(windows, tokenizer, window), html, lambda: windows_html(windows, tokenizer, window))
