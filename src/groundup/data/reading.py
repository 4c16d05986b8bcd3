"""Reading: from a file to the texts of its documents, a piece at a time.

One idea: a corpus is a flat stream of `(text, ends)` pieces, where `ends` says that a document ends with the piece. A
text file of any size passes in pieces of a quarter of a megabyte; of a table, a row is held at a time (a few, in
Parquet).

A document is a whole text file, or the part between two separators, or the text of one row. Line ends are kept as
they are; a byte order mark is not text; the line breaks beside a separator belong to the separator.
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from groundup.core.errors import GroundupError
from groundup.data.formats.jsonl import jsonl_pieces
from groundup.data.formats.parquet import parquet_pieces
from groundup.data.formats.rows import listed
from groundup.data.formats.table import table_pieces
from groundup.data.formats.text import text_pieces
from groundup.data.sources import Paths, Source, list_sources

Piece = tuple[str, bool]

_ROW_FIELD = "text"


@dataclass(frozen=True)
class Reading:
    """How files are read: the field (column) of a row that holds the text, what separates documents in text files."""

    text_field: str | None = None
    separator: str | None = None

    def check(self, sources: Sequence[Source]) -> None:
        """Refuse a setting that nothing here would listen to."""
        kinds = {source.kind for source in sources}
        if self.separator == "":
            raise GroundupError("the separator is empty; give the characters that stand between documents")
        if self.separator is not None and "text" not in kinds:
            raise GroundupError(
                f"separator {self.separator!r} has no effect: no file is text, only {listed(sorted(kinds))}"
            )
        if self.text_field is not None and kinds == {"text"}:
            raise GroundupError(f"text_field {self.text_field!r} has no effect: text files have no fields")

    @property
    def field(self) -> str:
        return self.text_field or _ROW_FIELD


@dataclass(frozen=True)
class Document:
    """One whole document, for looking at: `index` counts the documents of its source."""

    text: str
    source: Path
    index: int


def read_documents(paths: Paths, *, text_field: str | None = None, separator: str | None = None) -> Iterator[Document]:
    """The documents under `paths`, each whole in memory; preparing reads pieces instead."""
    sources, reading = list_sources(paths), Reading(text_field, separator)
    reading.check(sources)
    for source in sources:
        index, parts = 0, []
        for text, ends in read_pieces(source, reading, Counter()):
            parts.append(text)
            if ends:
                yield Document("".join(parts), source.path, index)
                index, parts = index + 1, []


def read_pieces(source: Source, reading: Reading, remarks: Counter[str]) -> Iterator[Piece]:
    """The pieces of one file; rows without text are counted in `remarks`. Raises `GroundupError` for the unreadable."""
    readers = {"text": text_pieces, "jsonl": jsonl_pieces, "csv": table_pieces, "tsv": table_pieces}
    if source.kind == "parquet":
        yield from parquet_pieces(source, reading, remarks)
        return
    try:
        with cast(BinaryIO, gzip.open(source.path) if source.is_gzip else open(source.path, "rb")) as file:
            yield from readers[source.kind](source, file, reading, remarks)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise GroundupError(f"{source.path} is damaged or no gzip file: {error}; get it again") from error
    except OSError as error:
        raise GroundupError(f"{source.path} cannot be read: {error.strerror}") from error
