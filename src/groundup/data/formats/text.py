"""Text files (Markdown is text): one document, or the documents between separators, in pieces of a quarter megabyte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from groundup.data.decoding import decoded
from groundup.data.sources import Source

if TYPE_CHECKING:
    from groundup.data.reading import Piece, Reading

# The first piece of a document holds at least this many characters, or the whole document: what the split looks at.
HEAD_CHARACTERS = 1 << 15


def text_pieces(source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str]) -> Iterator[Piece]:
    """The pieces of a text file; with a separator, of the documents in it."""
    blocks = decoded(source, file, remarks, encoding=reading.encoding)
    if reading.separator is not None:
        yield from _separated(blocks, reading.separator)
        return
    previous = None  # one behind, so that the last piece is known to be the last
    for text in blocks:
        if previous:
            yield previous, False
        previous = text
    if previous:
        yield previous, True
    else:
        remarks["empty files, left out"] += 1


def _separated(blocks: Iterator[str], separator: str) -> Iterator[Piece]:
    held, begun = "", False  # text not given yet; whether a part of the document was
    for block in blocks:
        *whole, held = (held + block).split(separator)
        for text in whole:
            text = _strip(text, begun)
            if text or begun:
                yield text, True
            begun = False
        # The end of the block may be the beginning of a separator, or a line break before one.
        text = held[: max(0, len(held) - len(separator) + 1)].rstrip("\r\n")
        rest = held[len(text) :]
        text = text if begun else text.lstrip("\r\n")
        if len(text) >= HEAD_CHARACTERS:
            yield text, False
            held, begun = rest, True
    held = _strip(held, begun)
    if held or begun:
        yield held, True


def _strip(text: str, begun: bool) -> str:
    return text.rstrip("\r\n") if begun else text.strip("\r\n")
