"""Reading: from a file to the texts of its documents, a piece at a time.

One idea: a corpus is a flat stream of `(text, ends)` pieces, where `ends` says that a document ends with the piece. A
text file of any size passes in pieces of a quarter of a megabyte; of a table, a row is held at a time (a few, in
Parquet); a page, a PDF or a DOCX is held whole.

A document is a whole text file, or the part between two separators, or the text of one row, page or file. Line ends are
kept as they are; a byte order mark is not text; the line breaks beside a separator belong to the separator.

Rows of conversations and preferences are no documents and are refused, whole file by whole file: glued to plain text they
would teach a chat format that no template knows. A person can still name the field that is text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, BinaryIO, Literal

from groundup.core.errors import GroundupError, MissingExtraError, unknown_name
from groundup.data.compression import DAMAGE
from groundup.data.decoding import check_encoding
from groundup.data.fields import text_fields
from groundup.data.formats.columns import column_rows
from groundup.data.formats.docx import docx_text
from groundup.data.formats.html import html_text
from groundup.data.formats.json_list import json_rows
from groundup.data.formats.jsonl import jsonl_rows
from groundup.data.formats.label_lines import label_rows
from groundup.data.formats.pdf import pdf_text
from groundup.data.formats.rows import NumberedRow, Row, Wanted, all_columns, listed, shown
from groundup.data.formats.table import table_rows
from groundup.data.formats.text import text_pieces
from groundup.data.records import Document
from groundup.data.remarks import Remarks, Unreadable, count_first, reject_row
from groundup.data.remote import Url
from groundup.data.shapes.table import SHAPES, shape_of
from groundup.data.sources import FORMATS, Paths, Source, list_sources

Piece = tuple[str, bool]

TEXT_READERS = {"html": html_text, "pdf": pdf_text, "docx": docx_text}
ROW_READERS = {
    "jsonl": jsonl_rows,
    "json": json_rows,
    "csv": table_rows,
    "tsv": table_rows,
    "parquet": column_rows,
    "arrow": column_rows,
    "label-lines": label_rows,
}
PLAIN = ("text", "markdown")
# Canonical fields that `map` may name.
MAPPABLE = (
    *("text", "label", "messages", "tools", "system", "instruction", "input", "output", "prompt", "completion"),
    *("chosen", "rejected"),
)
_CHOOSE = "say which one holds the text by text_field, or by map text=NAME"


@dataclass(frozen=True)
class Reading:
    """How files are read.

    `text_field` is the field (column) of a row that holds the text; `separator` stands between documents in text files;
    `format` is one of `FORMATS`, or the shape of the rows (alpaca, sharegpt ...); `map` gives our field its name in the file
    (`{"output": "answer"}`; two of them joined: `"question+answer"`); `encoding` is that of the text; `on_bad_row` stops
    at a row that cannot be used, or leaves it out, counted (skip).
    """

    text_field: str | None = None
    separator: str | None = None
    format: str | None = None
    map: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    on_bad_row: Literal["stop", "skip"] = "stop"

    def sources(self, paths: Paths, remarks: Counter[str] | None = None) -> list[Source]:
        """The files under `paths`, read this way; refuses a setting that is unknown or that nothing would listen to."""
        self._check_values()
        found = list_sources(paths, remarks, format=self.file_format, encoding=self.encoding)
        self.check(found)
        return found

    def check(self, sources: Sequence[Source]) -> None:
        """Refuse a setting that nothing here would listen to."""
        self._check_values()
        kinds = {source.kind for source in sources}
        if self.separator is not None and not kinds & set(PLAIN):
            raise GroundupError(
                f"separator {self.separator!r} has no effect: no file is text, only {listed(sorted(kinds))}"
            )
        if not kinds & set(ROW_READERS):
            useless = {"text_field": self.text_field, "map": dict(self.map) or None, "format": self.shape}
            for name, value in useless.items():
                if value is not None:
                    raise GroundupError(f"{name} {value!r} has no effect: {listed(sorted(kinds))} files have no fields")
        if self.encoding is not None and not kinds - {"pdf", "docx", "parquet", "arrow"}:
            raise GroundupError(
                f"encoding {self.encoding!r} has no effect: {listed(sorted(kinds))} files say their own"
            )

    def _check_values(self) -> None:
        if self.separator == "":
            raise GroundupError("the separator is empty; give the characters that stand between documents")
        if self.text_field == "":
            raise GroundupError("the text field is empty; name the field that holds the text")
        if self.format is not None and self.format not in (*FORMATS, *SHAPES):
            raise unknown_name("format", self.format, (*FORMATS, *SHAPES))
        for ours in self.map:
            if ours not in MAPPABLE:
                raise unknown_name("field to map", ours, MAPPABLE)
        if self.text_field is not None and self.map.get("text", self.text_field) != self.text_field:
            raise GroundupError(
                f"text_field {self.text_field!r} and map text={self.map['text']} differ; give one of them"
            )
        if self.encoding is not None:
            check_encoding(self.encoding)
        if self.on_bad_row not in ("stop", "skip"):
            raise unknown_name("on_bad_row", self.on_bad_row, ("stop", "skip"))

    @property
    def file_format(self) -> str | None:
        """`format`, where it is that of files."""
        return self.format if self.format in FORMATS else None

    @property
    def shape(self) -> str | None:
        """`format`, where it is that of rows."""
        return self.format if self.format in SHAPES else None

    @property
    def field(self) -> str | None:
        """The field that holds the text, as a person named it."""
        return self.text_field or self.map.get("text")

    def given(self) -> list[str]:
        """The names of the settings that are not the usual ones."""
        usual = Reading()
        return [name for name in vars(usual) if getattr(self, name) != getattr(usual, name)]

    def settings(self) -> dict[str, Any]:
        """What of this decides the text that is read, for a manifest."""
        return {
            "text_field": self.field,
            "separator": self.separator,
            "format": self.format,
            "map": dict(self.map),
            "encoding": self.encoding,
            "on_bad_row": self.on_bad_row,
        }

    def reject(
        self, remarks: Counter[str], source: Source, number: int, what: str, detail: str = "", way_out: str = ""
    ) -> None:
        """Stop at a bad row, or count it, as `on_bad_row` says."""
        reject_row(remarks, f"{source}:{number}", what, detail, way_out, on_bad_row=self.on_bad_row)


def read_documents(
    paths: Paths,
    *,
    text_field: str | None = None,
    separator: str | None = None,
    format: str | None = None,
    map: Mapping[str, str] | None = None,
    encoding: str | None = None,
    on_bad_row: Literal["stop", "skip"] = "stop",
    remarks: Counter[str] | None = None,
) -> Iterator[Document]:
    """The documents under `paths`, each whole in memory; preparing reads pieces instead. `Reading` tells the settings."""
    remarks = Counter() if remarks is None else remarks
    reading = Reading(text_field, separator, format, map or {}, encoding, on_bad_row)
    for source in reading.sources(paths, remarks):
        yield from documents_of(source, reading, remarks)


def documents_of(source: Source, reading: Reading, remarks: Counter[str]) -> Iterator[Document]:
    """The documents of one file, each whole."""
    index, parts = 0, []
    for text, ends in read_pieces(source, reading, remarks):
        parts.append(text)
        if ends:
            yield Document("".join(parts), source.place, index)
            index, parts = index + 1, []


def read_pieces(source: Source, reading: Reading, remarks: Counter[str]) -> Iterator[Piece]:
    """The pieces of one file; what is left out is counted in `remarks`.

    Raises `GroundupError` for the unreadable; a page, PDF, DOCX or JSON file met in a folder is counted instead.
    """

    def pieces(file: BinaryIO) -> Iterator[Piece]:
        if source.kind in PLAIN:
            return text_pieces(source, file, reading, remarks)
        if source.kind in TEXT_READERS:
            return iter([(TEXT_READERS[source.kind](source, file, reading, remarks), True)])
        return _row_pieces(source, file, reading, remarks)

    return opened(source, remarks, pieces)


def read_rows(
    source: Source, reading: Reading, remarks: Counter[str], wanted: Wanted = all_columns
) -> Iterator[NumberedRow]:
    """The rows of one file of rows, their fields called as `reading.map` says."""
    reader = ROW_READERS[source.kind]
    return opened(source, remarks, lambda file: reader(source, file, reading, remarks, wanted))


def opened(source: Source, remarks: Counter[str], read: Callable[[BinaryIO], Iterator[Any]]) -> Iterator[Any]:
    """What `read` gives of an opened source. A whole-file format that fails before it gave anything, in a folder, is counted."""
    given = False
    try:
        with closing(source.open()) as file:
            items = iter(read(file))
            for first in islice(items, 1):
                given = True
                yield first
            yield from items
    except MissingExtraError:
        raise
    except (Unreadable, *DAMAGE) as error:
        if not isinstance(error, Unreadable):
            error = Unreadable(source, f"damaged: {error}; get it again")
        if given or source.named or source.kind not in (*TEXT_READERS, "json"):
            raise error from None
        count_first(remarks, f"files left out: {error.reason}", source)
        if isinstance(remarks, Remarks):
            remarks.unreadable[str(source)] = error.reason
    except OSError as error:
        raise GroundupError(f"{source} cannot be read: {error.strerror or error}") from error
    except GroundupError:
        raise
    except Exception as error:
        if not isinstance(source.path, Url):
            raise
        # A store's client has errors of its own: a connection lost, a permission that ended.
        raise GroundupError(f"{source} cannot be read: {type(error).__name__}: {error}; run it again") from error


# ---- rows that are documents


def _row_pieces(source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str]) -> Iterator[Piece]:
    asked = reading.field.split("+") if reading.field else []

    def wanted(names: list[str]) -> list[str] | None:
        return [name for name in asked or ["text"] if name in names] or None

    rows = ROW_READERS[source.kind](source, file, reading, remarks, wanted)
    first = next(rows, None)
    if first is None:
        return
    chosen = asked or _choose(source, *first, reading, remarks)
    only = chosen[0] if len(chosen) == 1 else None
    has_text, n_rejected = False, 0
    for number, row in chain([first], rows):
        text = _joined(row, chosen) if only is None else row.get(only)
        if type(text) is str and text:
            has_text = True
            yield text, True
        elif missing := next((name for name in chosen if name not in row), None):
            n_rejected += 1
            detail = f"; it has {listed(row) or 'none'}"
            reading.reject(remarks, source, number, f"no field {missing!r}", detail, _CHOOSE)
        elif text is None or text == "":
            remarks["rows without text, left out"] += 1
        else:
            n_rejected += 1
            detail = f", it holds {shown(repr(text))}"
            reading.reject(remarks, source, number, f"field {chosen[0]!r} is not text", detail, _CHOOSE)
    if n_rejected and not has_text:
        raise Unreadable(source, f"every row was rejected ({n_rejected:,}); {_CHOOSE}")


def _joined(row: Row, names: list[str]) -> Any:
    """The fields of a row, a blank line between them; the first that is no text, to be told."""
    values = [row.get(name) for name in names]
    other = next((value for value in values if value is not None and not isinstance(value, str)), None)
    return other if other is not None else "\n\n".join(value for value in values if value)


def _choose(source: Source, number: int, row: Row, reading: Reading, remarks: Counter[str]) -> list[str]:
    """The field that holds the text of these rows, from the first of them."""
    names = text_fields(row)
    shape = SHAPES[reading.shape] if reading.shape else shape_of(row)
    if names != ["text"] and shape is not None and shape.kind in ("conversation", "preference"):
        raise GroundupError(
            f"{source}:{number}: rows of {shape.kind}s ({shape.name}: {listed(row)}), which are not plain text; to read "
            "them as text all the same, name the field or fields by map text=NAME or text=NAME+NAME"
        )
    if len(names) > 1:
        raise Unreadable(f"{source}:{number}", f"the text may be in {listed(names)}; {_CHOOSE}")
    if not names:
        raise Unreadable(f"{source}:{number}", f"no field 'text'; it has {listed(row) or 'none'}: {_CHOOSE}")
    if names != ["text"]:
        count_first(remarks, f"files whose text is field {names[0]!r}, there being no 'text'", source)
    return names
