"""Which part of a text each token stands for: ids with their places, for people to look at.

Where a tokenizer's pieces spell the text byte for byte, the places follow from counting bytes. Where text is changed
before it is cut (lowercased, composed, spaces joined) the library has kept count and is asked.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import NamedTuple

from groundup.tokenization.tokenizer import Tokenizer


class Span(NamedTuple):
    """A token in a text: its id, its spelling in the vocabulary, the bytes it stands for, and `text[start:end]`.

    A token that is part of a character has the place of that character; one that stands for nothing in the text (the
    space SentencePiece puts before it) has an empty place.
    """

    id: int
    token: str
    spelled: bytes
    start: int
    end: int


def spans(tokenizer: Tokenizer, text: str) -> list[Span]:
    """Every token of `text` with its place, in order."""
    ids = tokenizer.encode(text)
    names = [tokenizer.token_of(id) for id in ids]
    table = tokenizer.bytes_table()
    spelled = [table[id] for id in ids] if table is not None else None
    places = None if spelled is None else _counted(spelled, text)
    if places is None:
        places = tokenizer.library_offsets(text)
    covered = [text[start:end].encode("utf-8") for start, end in places]
    if spelled is None:
        spelled = covered
    spelled = [covered[i] if id == tokenizer.unk_id else spelled[i] for i, id in enumerate(ids)]
    return [Span(*row[:3], *row[3]) for row in zip(ids, names, spelled, places, strict=True)]


def _counted(spelled: list[bytes], text: str) -> list[tuple[int, int]] | None:
    """The places by counting bytes, or None when the pieces together are not the text."""
    data, joined = text.encode("utf-8"), b"".join(spelled)
    if joined == data:
        added = 0
    elif joined == b" " + data:
        added = 1
    else:
        return None
    # Character i of the text begins at byte begins[i]; a piece covers every character it has a byte of.
    begins = [0, *accumulate(len(character.encode("utf-8")) for character in text)]
    places, position = [], -added
    for piece in spelled:
        first, last = max(position, 0), max(position + len(piece), 0)
        position += len(piece)
        start = bisect_right(begins, first) - 1
        places.append((start, bisect_left(begins, last) if last > first else start))
    return places
