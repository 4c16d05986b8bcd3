"""What the model is asked to learn: for every input, the token that comes next.

The one idea: a window of T tokens is T exercises at once. At each position the model sees the window up to there
(within the same document) and must guess the target, which is the input one place further on.
"""

from __future__ import annotations

import numpy as np
from rich.console import Group, RenderableType

from groundup.data.windows import Windows
from groundup.inspect.page import COLOURS, Raw, escape, page, table
from groundup.inspect.terminal import coloured_text, terminal_table, visible
from groundup.tokenization.tokenizer import Tokenizer

_SHOWN_BEFORE = 8  # tokens of context in a row; the model sees all of them


def windows_terminal(windows: Windows, tokenizer: Tokenizer, index: int = 0, n_rows: int = 16) -> RenderableType:
    """Window `index`: its text, documents in different colours, and its first `n_rows` exercises."""
    pieces, _, documents = _window(windows, tokenizer, index)
    rows = _exercises(windows, tokenizer, index, n_rows)
    return Group(
        _title(windows, index),
        "",
        coloured_text(pieces, documents),
        "",
        terminal_table(("position", "when the input is", "the target is", "id"), rows, numbers=(0, 3)),
    )


def windows_html(windows: Windows, tokenizer: Tokenizer, index: int = 0, n_rows: int = 64) -> str:
    """The same as a page, inputs over targets, a colour for each document."""
    pieces, targets, documents = _window(windows, tokenizer, index)

    def strip(texts: list[str]) -> Raw:
        cells = (
            f'<span class="piece" style="background: {COLOURS[d % len(COLOURS)]}40">{escape(visible(t))}</span>'
            for t, d in zip(texts, documents, strict=True)
        )
        return Raw(f'<div class="pieces">{" ".join(cells)}</div>')

    exercises = _exercises(windows, tokenizer, index, n_rows)
    body = (
        f"<h1>A window</h1><p class='soft'>{escape(_title(windows, index))}</p>"
        f"{table([('inputs', strip(pieces)), ('targets', strip(targets))])}<h2>What is asked at each position</h2>"
        f"{table(exercises, ('position', 'when the input is', 'the target is', 'id'))}"
    )
    return page("A window", body)


def _window(windows: Windows, tokenizer: Tokenizer, index: int) -> tuple[list[str], list[str], list[int]]:
    """Pieces of the inputs, of the targets, and the document each input belongs to, counted from 0."""
    inputs, targets = windows.window(index)
    documents = np.asarray(windows.split.document_ids(windows.start(index), len(inputs)))
    spell = [tokenizer.decode([id], continued=True) for id in [*inputs.tolist(), int(targets[-1])]]
    return spell[:-1], spell[1:], (documents - documents[0]).tolist()


def _exercises(windows: Windows, tokenizer: Tokenizer, index: int, n_rows: int) -> list[tuple[int, str, str, int]]:
    pieces, targets, documents = _window(windows, tokenizer, index)
    inputs, ids = windows.window(index)
    rows = []
    for position in range(min(n_rows, len(pieces))):
        begin = max(documents.index(documents[position]), position + 1 - _SHOWN_BEFORE)
        is_cut = begin > documents.index(documents[position])
        seen = ("… " if is_cut else "") + visible(
            tokenizer.decode(inputs[begin : position + 1].tolist(), continued=True)
        )
        rows.append((position, seen, visible(targets[position]), int(ids[position])))
    return rows


def _title(windows: Windows, index: int) -> str:
    return (
        f"window {index:,} of {len(windows):,}: {windows.context_length:,} tokens from token "
        f"{windows.start(index):,} of the {windows.split.name} split, a window every {windows.stride:,}"
    )
