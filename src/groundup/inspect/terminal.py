"""The terminal's side of a view: tables of plain text, where nothing a corpus holds is read as markup or control."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from groundup.inspect.page import printable

# The terminal's own six colours, dark on their ground: readable in light and dark themes alike.
_GROUNDS = ("blue", "yellow", "green", "magenta", "cyan", "red")


def visible(text: str) -> str:
    """`text` on one line, `printable`, and with a `·` for each blank at its ends."""
    shown = printable(text)
    stripped = shown.strip(" ")
    n_left = len(shown) - len(shown.lstrip(" "))
    return "·" * n_left + stripped + "·" * (len(shown) - n_left - len(stripped))


def terminal_table(header: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()) -> Table:
    """A table for the terminal; columns whose index is in `numbers` stand to the right."""
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for index, name in enumerate(header):
        grid.add_column(name, justify="right" if index in numbers else "left")
    for row in rows:
        grid.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return grid


def coloured_text(pieces: Iterable[str], colours: Iterable[int] | None = None) -> Text:
    """Pieces in a row, each on its ground; neighbours differ unless `colours` says which ground each has."""
    line = Text()
    pieces = list(pieces)
    for piece, colour in zip(pieces, colours or range(len(pieces)), strict=False):
        line.append(printable(piece).replace("↵", "↵\n"), style=f"black on {_GROUNDS[colour % len(_GROUNDS)]}")
    return line
