"""Text as the model sees it: pieces, each a number.

The one idea: put the pieces side by side in changing colours, and the habits of a tokenizer show: the blank that opens
a word, the ending cut off, the rare character in bytes, the word it does not know.
"""

from __future__ import annotations

from rich.console import Group, RenderableType

from groundup.inspect.page import coloured_pieces, escape, page, table
from groundup.inspect.terminal import coloured_text, terminal_table, visible
from groundup.tokenization.spans import Span, spans
from groundup.tokenization.tokenizer import Tokenizer

_HEADER = ("position", "id", "token", "place", "in the text", "bytes")


def tokens_terminal(tokenizer: Tokenizer, text: str) -> RenderableType:
    """The pieces of `text` in colours, a line of totals, and a table of each one's id, spelling, place and bytes."""
    found = spans(tokenizer, text)
    return Group(
        coloured_text(_shown(tokenizer, text, span) for span in found),
        "",
        _totals(tokenizer, text, found),
        "",
        terminal_table(_HEADER, _rows(text, found), numbers=(0, 1)),
    )


def tokens_html(tokenizer: Tokenizer, text: str) -> str:
    """The same as a page; hovering over a piece tells its id, place and bytes."""
    found = spans(tokenizer, text)
    coloured = coloured_pieces(
        (_shown(tokenizer, text, span), f"id {span.id}, token {span.token}, {_place(span)}, bytes {_hex(span)}")
        for span in found
    )
    body = (
        f"<h1>Tokens</h1><p class='soft'>{escape(_totals(tokenizer, text, found))}</p>{coloured}<h2>One by one</h2>"
        f"{table(_rows(text, found), _HEADER)}"
    )
    return page("Tokens", body)


def piece_of(tokenizer: Tokenizer, id: int) -> str:
    """The text of one token as it stands within a text; stray bytes as `\\xe4`, so that no two look alike."""
    text, table = tokenizer.decode([id], continued=True), tokenizer.bytes_table()
    return table[id].decode("utf-8", errors="backslashreplace") if table and "\ufffd" in text else text


def _rows(text: str, found: list[Span]) -> list[tuple[object, ...]]:
    return [
        (number, span.id, visible(span.token), _place(span), visible(text[span.start : span.end]), _hex(span))
        for number, span in enumerate(found)
    ]


def _shown(tokenizer: Tokenizer, text: str, span: Span) -> str:
    """A piece as it stands in the text: what it spells, stray bytes as `\\xe4`; where it spells nothing of its own
    (WordPiece, unknown words), the text it covers."""
    if span.id == tokenizer.unk_id or tokenizer.bytes_table() is None:
        return text[span.start : span.end] or span.token
    return span.spelled.decode("utf-8", errors="backslashreplace")


def _place(span: Span) -> str:
    return f"{span.start}–{span.end}" if span.end > span.start else "–"


def _hex(span: Span) -> str:
    return span.spelled.hex(" ")


def _totals(tokenizer: Tokenizer, text: str, found: list[Span]) -> str:
    n_bytes = len(text.encode("utf-8"))
    ratio = f", {n_bytes / len(found):.2f} bytes a token" if found else ""
    n_unknown = sum(span.id == tokenizer.unk_id for span in found)
    unknown = f"; {n_unknown:,} unknown" if n_unknown else ""
    tokens = f"{len(found):,} token{'s' * (len(found) != 1)}"
    return f"{tokens} for {len(text):,} characters, {n_bytes:,} bytes{ratio}{unknown}"
