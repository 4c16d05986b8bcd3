"""Packing: documents laid whole into rows, planned before training from their lengths alone.

One idea: a window cuts whatever crosses its border, so the second half of a document is read without the first. Here a
document longer than a row is cut into row-long pieces, and every other document, and every remainder, is put whole into
the fullest row that still has room, the longest first ("best-fit decreasing"; Ding et al. 2024, "Fewer truncations improve
language modeling", section 3). Lengths are whole numbers up to the context, so rows with equal room and pieces of equal
length are handled together and a million documents take a second; what is kept is 12 bytes a piece and 8 a row.

A piece of n tokens is n exercises: its labels are its tokens, its inputs what stands before each, beginning with the end of
text before the document. Pieces in a row never see each other, and positions restart at each. Room that stays empty is
filled with end of text and has no label.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from groundup.core.errors import GroundupError
from groundup.data.lengths import document_lengths, document_starts
from groundup.data.store import TokenSplit
from groundup.data.windows import IGNORED_LABEL, Windows

Packing = Literal["windows", "best-fit", "concatenate"]
PACKINGS: tuple[str, ...] = get_args(Packing)


def training_rows(
    split: TokenSplit, context_length: int, *, packing: str = "windows", stride: int | None = None
) -> Rows:
    """The rows a training reads of a split.

    `windows` cuts the text every `stride` tokens and keeps documents apart; `concatenate` cuts it alike and lets them see
    each other; `best-fit` packs whole documents. Raises `GroundupError` for a text shorter than a row, and for a stride
    with best-fit packing, where there is none.
    """
    if packing not in PACKINGS:
        raise GroundupError(f"unknown packing {packing!r}; it is one of {', '.join(PACKINGS)}")
    if packing != "best-fit":
        return Windows(split, context_length, stride, document_mask=packing == "windows")
    if stride is not None:
        raise GroundupError(f"stride {stride} has no effect with best-fit packing, which reads every token once")
    return PackedRows(split, context_length)


class PackedRows:
    """The documents of a split packed into rows of `context_length` positions, each token a label once.

    Rows are numbered in the order the plan opened them, the fullest first. Raises `GroundupError` when the split is empty.
    """

    crosses_documents = True

    def __init__(self, split: TokenSplit, context_length: int) -> None:
        if context_length < 1:
            raise GroundupError(f"context_length is {context_length}; it must be at least 1")
        lengths = document_lengths(split)
        if not lengths.sum():
            raise GroundupError(f"the {split.name} split has no tokens to pack: give more text")
        self.split = split
        self.context_length = context_length
        self.n_cut_documents = int((lengths > context_length).sum())
        n_pieces = -(-lengths // context_length)
        # Piece k of a document: context_length tokens from its token k * context_length on, the last one what is left.
        number = np.arange(n_pieces.sum()) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
        starts = np.repeat(document_starts(split), n_pieces) + context_length * number
        pieces = np.minimum(np.repeat(lengths, n_pieces) - context_length * number, context_length).astype(np.int32)
        order, self._first_piece = packed(pieces, context_length)
        self._starts, self._lengths = starts[order], pieces[order]

    def __len__(self) -> int:
        return len(self._first_piece) - 1

    @property
    def eos_id(self) -> int:
        """The id that ends a document, and fills empty room."""
        return self.split.eos_id

    @property
    def n_pieces(self) -> int:
        return len(self._starts)

    @property
    def tokens_per_row(self) -> float:
        """Labels in a row, on average."""
        return self.split.n_tokens / len(self)

    @property
    def padding(self) -> float:
        """The share of all positions that is empty."""
        return 1 - self.split.n_tokens / (len(self) * self.context_length)

    def pieces(self, row: int) -> list[tuple[int, int]]:
        """(first token, number of tokens) of each piece in a row, in order."""
        here = slice(self._first_piece[row], self._first_piece[row + 1])
        return list(zip(self._starts[here].tolist(), self._lengths[here].tolist(), strict=True))

    def rows(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs, labels and document numbers of several rows, each int64 [len(indices), context_length]."""
        piece, room = rooms_of(self._first_piece, self._lengths, indices, self.context_length)
        starts, lengths = self._starts[piece], self._lengths[piece].astype(np.int64)
        begins = np.cumsum(lengths) - lengths
        tokens = self.split.gather(np.repeat(starts - begins, lengths) + np.arange(lengths.sum()))
        before = np.empty_like(tokens)
        before[1:] = tokens[:-1]
        opening = self.split.gather(np.maximum(starts - 1, 0))
        before[begins] = np.where(starts > 0, opening, self.split.eos_id)  # nothing stands before the first document

        inputs = np.full(room.in_use.shape, self.split.eos_id, np.int64)
        labels = np.full(room.in_use.shape, IGNORED_LABEL, np.int64)
        inputs[room.in_use], labels[room.in_use] = before, tokens
        return inputs, labels, room.documents


Rows = Windows | PackedRows


def packed(lengths: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """Pieces packed best-fit: (the pieces' numbers row by row, where in them each row begins and the last ends)."""
    row_of = best_fit_decreasing(lengths, capacity)
    return np.argsort(row_of, kind="stable"), np.concatenate([[0], np.cumsum(np.bincount(row_of))])


@dataclass(frozen=True)
class Room:
    """Which positions of some rows are taken, bool [rows, context_length], and by which of a row's pieces, int64 alike.

    Pieces lie in a row from the left; empty room is a segment of its own.
    """

    in_use: np.ndarray
    documents: np.ndarray


def rooms_of(
    first_piece: np.ndarray, lengths: np.ndarray, indices: np.ndarray, context_length: int
) -> tuple[np.ndarray, Room]:
    """The pieces that lie in rows `indices`, in order, and the room they take.

    Row i holds the pieces `first_piece[i]` to `first_piece[i + 1]`, of `lengths` tokens each.
    """
    counts = first_piece[indices + 1] - first_piece[indices]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)  # number of a piece in its row
    piece = np.repeat(first_piece[indices], counts) + within
    taken = lengths[piece].astype(np.int64)
    filled = np.add.reduceat(taken, np.cumsum(counts) - counts)
    in_use = np.arange(context_length) < filled[:, None]
    documents = np.repeat(counts[:, None], context_length, axis=1)
    # Rows are filled from the left, so the pieces end to end lie in this order in them too.
    documents[in_use] = np.repeat(within, taken)
    return piece, Room(in_use, documents)


def best_fit_decreasing(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """The row of each piece, int64: longest pieces first, each into the fullest row of `capacity` that has room.

    Pieces of one length are taken together: best fit fills one row with them as often as they go into it before it turns to
    the next, so whole groups of rows with equal room are dealt with at once; the result is that of one by one.
    """
    assert len(lengths), "nothing to pack"
    assert 1 <= lengths.min() <= lengths.max() <= capacity, (lengths.min(), lengths.max(), capacity)
    row_of = np.empty(len(lengths), np.int64)
    by_length = np.argsort(-lengths, kind="stable")
    counts = np.bincount(lengths, minlength=capacity + 1)
    rooms: list[int] = []  # the different rooms that rows have left, rising
    rows_with: dict[int, list[np.ndarray]] = {}
    n_rows = begin = 0

    def leave(rows: np.ndarray, room: int) -> None:
        if room and len(rows):
            if room not in rows_with:
                insort(rooms, room)
            rows_with.setdefault(room, []).append(rows)

    for length in np.flatnonzero(counts)[::-1].tolist():
        left = by_length[begin : begin + counts[length]]
        begin += counts[length]
        while len(left):
            place = bisect_left(rooms, length)
            if place < len(rooms):
                room = rooms.pop(place)
                rows = np.concatenate(rows_with.pop(room))
            else:
                room = capacity
                n_new = -(-len(left) // (capacity // length))
                rows = np.arange(n_rows, n_rows + n_new)
                n_rows += n_new
            each = room // length
            n_used = min(len(rows), -(-len(left) // each))
            n_placed = min(len(left), n_used * each)
            row_of[left[:n_placed]] = np.repeat(rows[:n_used], each)[:n_placed]
            left = left[n_placed:]
            n_full, over = divmod(n_placed, each)
            leave(rows[:n_full], room - each * length)
            leave(rows[n_full:n_used], room - over * length)
            leave(rows[n_used:], room)
    return row_of
