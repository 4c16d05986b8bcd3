"""Text as the model sees it: pieces, each a number.

The one idea: put the pieces side by side in changing colours, and the habits of a tokenizer show: the blank that opens
a word, the ending cut off, the rare character in bytes.
"""

from __future__ import annotations

from rich.console import Group, RenderableType

from groundup.inspect.page import coloured_pieces, escape, page, table
from groundup.inspect.terminal import coloured_text, terminal_table, visible
from groundup.tokenization.tokenizer import Tokenizer


def tokens_terminal(tokenizer: Tokenizer, text: str) -> RenderableType:
    """The pieces of `text` in colours, a line of totals, and a table of each piece's id and bytes."""
    pieces = tokenizer.pieces(text)
    rows = [
        (number, id, visible(piece), piece_bytes.hex(" ")) for number, (id, piece, piece_bytes) in enumerate(pieces)
    ]
    return Group(
        coloured_text(piece for _, piece, _ in pieces),
        "",
        _totals(text, len(pieces)),
        "",
        terminal_table(("position", "id", "piece", "bytes"), rows, numbers=(0, 1)),
    )


def tokens_html(tokenizer: Tokenizer, text: str) -> str:
    """The same as a page; hovering over a piece tells its id and bytes."""
    pieces = tokenizer.pieces(text)
    coloured = coloured_pieces((piece, f"id {id}, bytes {piece_bytes.hex(' ')}") for id, piece, piece_bytes in pieces)
    rows = [(number, id, visible(piece), len(b), b.hex(" ")) for number, (id, piece, b) in enumerate(pieces)]
    body = (
        f"<h1>Tokens</h1><p class='soft'>{escape(_totals(text, len(pieces)))}</p>{coloured}<h2>One by one</h2>"
        f"{table(rows, ('position', 'id', 'piece', 'length', 'bytes'))}"
    )
    return page("Tokens", body)


def _totals(text: str, n_tokens: int) -> str:
    n_bytes = len(text.encode("utf-8"))
    ratio = f", {n_bytes / n_tokens:.2f} bytes a token" if n_tokens else ""
    return f"{n_tokens:,} tokens for {len(text):,} characters, {n_bytes:,} bytes{ratio}"
