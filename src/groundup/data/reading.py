"""Reading: from a file to the texts of its documents, a piece at a time.

One idea: a corpus is a flat stream of `(text, ends)` pieces, where `ends` says that a document ends with the piece. A
text file of any size passes in pieces of a quarter of a megabyte; of a table, a row is held at a time (a few, in
Parquet).

A document is a whole text file, or the part between two separators, or the text of one row. Line ends are kept as
they are; a byte order mark is not text; the line breaks beside a separator belong to the separator.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from groundup.core.errors import GroundupError, missing_extra
from groundup.data.sources import Paths, Source, check_is_text, convert, list_sources

Piece = tuple[str, bool]

# The first piece of a document holds at least this many characters, or the whole document: what the split looks at.
HEAD_CHARACTERS = 1 << 15

_BLOCK_BYTES = 1 << 18
_ROW_FIELD = "text"
_LARGEST_CSV_FIELD = (1 << 31) - 1
_CHOOSE = "say which one holds the text by text_field"


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
                f"separator {self.separator!r} has no effect: no file is text, only {_list(sorted(kinds))}"
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
    readers = {"text": _text_pieces, "jsonl": _json_pieces, "csv": _csv_pieces, "tsv": _csv_pieces}
    if source.kind == "parquet":
        yield from _parquet_pieces(source, reading, remarks)
        return
    try:
        with cast(BinaryIO, gzip.open(source.path) if source.is_gzip else open(source.path, "rb")) as file:
            yield from readers[source.kind](source, file, reading, remarks)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise GroundupError(f"{source.path} is damaged or no gzip file: {error}; get it again") from error
    except OSError as error:
        raise GroundupError(f"{source.path} cannot be read: {error.strerror}") from error


# ---- text files


def _text_pieces(source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str]) -> Iterator[Piece]:
    blocks = _decoded(source.path, _binary_blocks(file))
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


def _binary_blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK_BYTES):
        yield block
    yield b""


def _decoded(path: Path, blocks: Iterator[bytes]) -> Iterator[str]:
    """UTF-8 to text; the last block is the empty one. A byte that is no UTF-8 is named by its place in the file."""
    position, tail, is_first = 0, b"", True
    for block in blocks:
        data = tail + block
        try:
            text, used = codecs.utf_8_decode(data, "strict", not block)
        except UnicodeDecodeError as error:
            raise _encoding_error(path, position + error.start, data[error.start : error.start + 1]) from None
        position, tail = position + used, data[used:]
        if is_first and text:
            check_is_text(path, data[: 1 << 12])
            text, is_first = text.removeprefix("\ufeff"), False
        if text:
            yield text


def _encoding_error(path: Path, position: int, byte: bytes) -> GroundupError:
    return GroundupError(
        f"{path} is not UTF-8: byte {position:,} is 0x{byte.hex()}; if it was written in an old Windows "
        f"encoding, {convert(path, 'WINDOWS-1252')}"
    )


# ---- tables


def _line_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Blocks that end with a whole line (so a row of any length is one piece), then the empty block."""
    parts: list[bytes] = []
    while block := file.read(_BLOCK_BYTES):
        cut = block.rfind(b"\n") + 1
        if cut:
            yield b"".join((*parts, block[:cut]))
            parts = []
        parts.append(block[cut:])
    if rest := b"".join(parts):
        yield rest
    yield b""


def _json_pieces(source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str]) -> Iterator[Piece]:
    path, field, parse = source.path, reading.field, json.JSONDecoder().decode
    number = 0
    for block in _decoded(path, _line_blocks(file)):
        for line in block.split("\n"):
            number += 1
            if not line or line.isspace():
                continue
            try:
                row = parse(line)
            except json.JSONDecodeError as error:
                raise GroundupError(
                    f"{path}:{number}: not valid JSON ({error.msg}, column {error.colno}): {_shown(line)}; "
                    "a .jsonl file holds one object a line"
                ) from None
            except RecursionError:
                raise GroundupError(f"{path}:{number}: JSON nested too deeply: {_shown(line)}") from None
            if type(row) is not dict:
                raise GroundupError(f"{path}:{number}: a row is an object {{...}}, this is {_shown(line)}")
            text = row.get(field)
            if type(text) is str and text:
                if "\\u" in line:
                    text = _without_half_characters(text, remarks)
                yield text, True
            else:
                _check_empty(text, f"{path}:{number}", field, row, remarks)
        number -= 1  # a block ends with a line end, so its split ends with an empty string that is no line


def _check_empty(text: object, place: str, field: str, row: dict, remarks: Counter[str]) -> None:
    if field not in row:
        raise GroundupError(f"{place}: no field {field!r}; it has {_list(row) or 'none'}: {_CHOOSE}")
    if text is not None and text != "":
        raise GroundupError(f"{place}: field {field!r} holds {_shown(json.dumps(text))}, not text")
    remarks["rows without text, left out"] += 1


def _without_half_characters(text: str, remarks: Counter[str]) -> str:
    r"""JSON can spell half a surrogate pair (`"\ud83d"`), which is no character and no file can hold: U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        remarks["rows with half a character (a lone surrogate), read as U+FFFD"] += 1
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _csv_pieces(source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str]) -> Iterator[Piece]:
    """Comma separated with quotes (RFC 4180); tab separated without, as IANA's text/tab-separated-values has none."""
    path, field = source.path, reading.field
    lines = (line for block in _decoded(path, _line_blocks(file)) for line in io.StringIO(block, newline="\n"))
    csv.field_size_limit(_LARGEST_CSV_FIELD)
    if source.kind == "tsv":
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        rows = csv.reader(lines, strict=True)
    try:
        names = next(rows, [])
        if field not in names:
            raise GroundupError(
                f"{path}:1: no column {field!r}; the first line names {_list(names) or 'none'}: {_CHOOSE}"
            )
        column = names.index(field)
        for row in rows:
            if len(row) > column:
                if row[column]:
                    yield row[column], True
                else:
                    remarks["rows without text, left out"] += 1
            elif row:
                raise GroundupError(
                    f"{path}:{rows.line_num}: the row has {len(row)} columns, {field!r} is number {column + 1}"
                )
    except csv.Error as error:
        raise GroundupError(f"{path}:{rows.line_num}: not valid CSV: {error}") from None


def _parquet_pieces(source: Source, reading: Reading, remarks: Counter[str]) -> Iterator[Piece]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("pyarrow", "parquet", f"reading {source.path}") from None
    field = reading.field
    try:
        with pyarrow.parquet.ParquetFile(source.path, pre_buffer=False, buffer_size=1 << 20) as table:
            names = table.schema_arrow.names
            if field not in names:
                raise GroundupError(f"{source.path}: no column {field!r}; it has {_list(names)}: {_CHOOSE}")
            kind = table.schema_arrow.field(field).type
            if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
                raise GroundupError(f"{source.path}: column {field!r} holds {kind}, not text")
            for rows in table.iter_batches(batch_size=64, columns=[field]):
                for text in rows.column(0).to_pylist():
                    if text:
                        yield text, True
                    else:
                        remarks["rows without text, left out"] += 1
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise GroundupError(f"{source.path} cannot be read as Parquet: {error}") from error


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _shown(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
