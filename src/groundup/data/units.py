"""Units: what of a text is encoded as one, and the encoding of them in order.

One idea: a *unit* is a document, or a stretch of a long one cut where no token crosses. Where units begin depends on the
text and the tokenizer alone: not on the pieces it was read in, nor on threads, workers or interruptions. So whoever counts
units can say where work stood.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from groundup.data.split import SidedPiece, utf8_bytes
from groundup.data.store import SPLITS

if TYPE_CHECKING:
    from groundup.tokenization.tokenizer import Tokenizer

_UNIT_CHARACTERS = 1 << 18
_LONGEST_UNIT = 1 << 24  # a text without any safe cut is cut here all the same, and told

# (side, text, ends): what is encoded as one; `ends` says that end of text follows.
Unit = tuple[int, str, bool]


class Writer(Protocol):
    """Takes the units of a split; `n_units` says how many it has already."""

    n_units: int

    def add(self, ids: np.ndarray, ends: bool, n_bytes: int) -> None: ...


def units_of(
    pieces: Iterator[SidedPiece], safe_cut: Callable[[str, int], int], remarks: Counter[str]
) -> Iterator[Unit]:
    """Gather and cut pieces into units whose ids, joined, are those of the whole documents."""
    cutters = [_Cutter(safe_cut, remarks) for _ in SPLITS]
    for side, text, ends in pieces:
        cutter = cutters[side]
        if ends and not cutter.rest and len(text) <= _UNIT_CHARACTERS:  # most documents
            yield side, text, True
            continue
        for part in cutter.push(text):
            yield side, part, False
        if ends:
            yield side, cutter.rest, True
            cutter.rest = ""
    for side, cutter in enumerate(cutters):
        if cutter.rest:
            yield side, cutter.rest, False


class _Cutter:
    """Cuts a long text as it comes. Where it cuts depends on the text alone, not on the pieces it came in."""

    def __init__(self, safe_cut: Callable[[str, int], int], remarks: Counter[str]) -> None:
        self.rest = ""  # text not yet given
        self._safe_cut = safe_cut
        self._remarks = remarks
        self._size = _UNIT_CHARACTERS

    def push(self, text: str) -> Iterator[str]:
        text, start = self.rest + text, 0
        while len(text) - start > self._size:
            cut = self._safe_cut(text[start : start + self._size + 1], self._size)
            if not cut and self._size < _LONGEST_UNIT:
                self._size *= 2
                continue
            if not cut:
                self._remarks["places cut where a token may cross: no better one in 16 million characters"] += 1
                cut = self._size
            yield text[start : start + cut]
            start, self._size = start + cut, _UNIT_CHARACTERS
        self.rest = text[start:]


def encode_units(
    units: Iterator[Unit],
    tokenizer: Tokenizer,
    n_threads: int | None,
    writers: Sequence[Writer],
    advance: Callable[[int], None],
) -> None:
    """Encode units by all threads and hand them, in order, to the writer of their side."""
    waiting: deque[tuple[int, bool, int]] = deque()  # of the units that are being encoded, in order
    to_skip = [writer.n_units for writer in writers]
    untold = 0  # bytes done since the bar was last told: telling it of every row would cost more than the row

    def done(n_bytes: int) -> None:
        nonlocal untold
        untold += n_bytes
        if untold >= 1 << 20:
            advance(untold)
            untold = 0

    def texts() -> Iterator[str]:
        for side, text, ends in units:
            n_bytes = utf8_bytes(text)
            if to_skip[side]:
                to_skip[side] -= 1
                done(n_bytes)
            else:
                waiting.append((side, ends, n_bytes))
                yield text

    for ids in tokenizer.encode_many(texts(), n_threads):
        side, ends, n_bytes = waiting.popleft()
        writers[side].add(ids, ends, n_bytes)
        done(n_bytes)
