"""What the model is asked to learn: for every input, the token that comes next.

The one idea: a row of T tokens is T exercises at once. At each position the model sees the row up to there (within the
same document, unless documents were joined on purpose) and must guess the target, the token that follows in the text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.console import Group, RenderableType

from groundup.data.packing import PackedRows, Rows
from groundup.data.windows import IGNORED_LABEL
from groundup.inspect.page import COLOURS, Raw, escape, page, table
from groundup.inspect.terminal import coloured_text, terminal_table, visible
from groundup.tokenization.tokenizer import Tokenizer

_SHOWN_BEFORE = 8  # tokens of context in a line; the model sees all of them
_HEADER = ("position", "when the input is", "the target is", "id")


@dataclass(frozen=True)
class _Row:
    """One row spelled out; a target is None where nothing is asked, and `documents` number what sees each other."""

    ids: list[int]
    pieces: list[str]
    targets: list[str | None]
    target_ids: list[int]
    documents: list[int]


def windows_terminal(
    rows: Rows, tokenizer: Tokenizer, index: int = 0, n_rows: int = 16, source: str = ""
) -> RenderableType:
    """Row `index`: its text, documents in different colours, and its first `n_rows` exercises."""
    row = _spell(rows, tokenizer, index)
    return Group(
        _title(rows, index, source),
        "",
        coloured_text(running_text(tokenizer, row.ids), row.documents),
        "",
        terminal_table(_HEADER, _exercises(row, tokenizer, n_rows), numbers=(0, 3)),
        *([_left_out(row)] if len(row.targets) > n_rows else []),
    )


def windows_html(rows: Rows, tokenizer: Tokenizer, index: int = 0, n_rows: int = 64) -> str:
    """The same as a page, every input over its target, a colour for each document."""
    return page("A window", f"<h1>A window</h1>{row_html(rows, tokenizer, index, n_rows)}")


def row_html(rows: Rows, tokenizer: Tokenizer, index: int, n_rows: int, source: str = "") -> str:
    """A row as a part of a page."""
    row = _spell(rows, tokenizer, index)
    cells = "".join(
        f'<span class="exercise">{_piece(piece, document)}{_piece(target, document)}</span>'
        for piece, target, document in zip(row.pieces, row.targets, row.documents, strict=True)
    )
    lines = table([tuple(map(_code, line)) for line in _exercises(row, tokenizer, n_rows)], _HEADER)
    return (
        f"<p class='soft'>{escape(_title(rows, index, source))}</p>"
        f"<p class='soft'>Above the input, below it the target; one colour, one document.</p><div class='row'>{cells}</div>"
        f"<details open><summary>What is asked at each position</summary>{lines}"
        f"{f'<p>{_left_out(row)}</p>' if len(row.targets) > n_rows else ''}</details>"
    )


def _piece(text: str | None, document: int) -> str:
    if text is None:
        return '<span class="piece nothing">–</span>'
    return (
        f'<span class="piece" style="background: {COLOURS[document % len(COLOURS)]}40">{escape(visible(text))}</span>'
    )


def _code(value: object) -> object:
    return Raw(f"<code>{escape(value)}</code>") if isinstance(value, str) else value


def _spell(rows: Rows, tokenizer: Tokenizer, index: int) -> _Row:
    inputs, labels, documents = (part[0].tolist() for part in rows.rows(np.array([index])))
    return _Row(
        ids=inputs,
        pieces=[tokenizer.decode([id], continued=True) for id in inputs],
        targets=[None if id == IGNORED_LABEL else tokenizer.decode([id], continued=True) for id in labels],
        target_ids=labels,
        documents=[document - documents[0] for document in documents],
    )


def running_text(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """The text of each id in its place; a character of several ids is with its last one, so that the whole is readable."""
    stream = tokenizer.stream(continued=True)
    texts = [stream.push(id) for id in ids]
    texts[-1] += stream.flush()
    return texts


def _exercises(row: _Row, tokenizer: Tokenizer, n_rows: int) -> list[tuple[int, str, str, int]]:
    """(position, what the model sees there, what it is asked for, the id of that) of the first positions with a target."""
    lines = []
    for position, target in enumerate(row.targets[:n_rows]):
        if target is None:
            continue
        opens = row.documents.index(row.documents[position])
        begin = max(opens, position + 1 - _SHOWN_BEFORE)
        seen = ("… " if begin > opens else "") + visible(
            tokenizer.decode(row.ids[begin : position + 1], continued=True)
        )
        lines.append((position, seen, visible(target), row.target_ids[position]))
    return lines


def _left_out(row: _Row) -> str:
    return f"and so on, to position {len(row.targets) - 1:,}"


def _title(rows: Rows, index: int, source: str) -> str:
    of = f" of {source}" if source else ""
    if isinstance(rows, PackedRows):
        pieces = rows.pieces(index)
        empty = rows.context_length - sum(n for _, n in pieces)
        return (
            f"row {index:,} of {len(rows):,}{of}: {len(pieces)} piece{'s' * (len(pieces) != 1)} of "
            f"{', '.join(str(n) for _, n in pieces)} tokens, {empty or 'no'} empty position{'s' * (empty != 1)}"
        )
    return (
        f"window {index:,} of {len(rows):,}{of}: {rows.context_length:,} tokens from token {rows.start(index):,} of the "
        f"{rows.split.name} split, a window every {rows.stride:,}"
    )
