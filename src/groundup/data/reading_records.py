"""Records: the rows of any file in their canonical form, as a stream that counts.

One idea: what a file's rows are is recognised once, from the first row that fits a shape, and said; every row that
then does not fit is rejected with its line and the reason, and a file of nothing but such rows is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Literal

from groundup.core.errors import GroundupError, unknown_name
from groundup.data.formats.rows import NumberedRow, Row, listed
from groundup.data.reading import ROW_READERS, Reading, documents_of, read_rows
from groundup.data.records import KINDS, Record
from groundup.data.remarks import Remarks, Unreadable, counted
from groundup.data.shapes.base import Rejected, Shape
from groundup.data.shapes.table import SHAPES, shape_of
from groundup.data.sources import Paths, Source

_LABELS = "; a label stands in a column of its own, or begins each line of a text file (format label-lines)"
_ROWS_TO_RECOGNISE = 100  # rows that are looked at before a file's shape is called unknown


@dataclass(frozen=True)
class FileRead:
    """What was read of one file; `format` is the shape of its rows, or the file's format where it has none."""

    source: Source
    format: str
    kind: str
    n_rows: int
    n_records: int
    n_rejected: int

    def __str__(self) -> str:
        unit = "document" if self.format == self.source.kind else "row"
        rejected = f", {self.n_rejected:,} rejected" if self.n_rejected else ""
        return f"{self.source}: read as {self.format}: {self.n_rows:,} {unit}{'s' * (self.n_rows != 1)}{rejected}"


class Records:
    """The records under some paths. Iterate over them, as often as you like; each pass counts anew."""

    def __init__(self, sources: list[Source], reading: Reading, kind: str | None, left_out: Remarks) -> None:
        self.sources = sources
        self.files: list[FileRead] = []
        self.remarks = left_out
        self._left_out = left_out
        self._reading = reading
        self._kind = kind

    def __iter__(self) -> Iterator[Record]:
        self.files = []
        self.remarks = Remarks()
        self.remarks.update(self._left_out)
        kind = None
        for source in self.sources:
            records = self.of(source)
            for first in islice(records, 1):
                if kind is not None and type(first) is not kind:
                    raise GroundupError(
                        f"{source} holds {type(first).__name__} records, the files before it {kind.__name__}; read "
                        "them apart, or ask for one kind"
                    )
                kind = type(first)
                yield first
            yield from records

    def of(self, source: Source) -> Iterator[Record]:
        """The records of one of the sources, whatever the others are, counted with theirs."""
        reading, remarks = self._reading, self.remarks
        rejected_before, n_records = remarks.n_rejected, 0
        if source.kind not in ROW_READERS:
            self._check_kind(source, "document")
            for document in documents_of(source, reading, remarks):
                n_records += 1
                yield document
            if n_records:
                self.files.append(FileRead(source, source.kind, "document", n_records, n_records, 0))
            return
        rows = (_mapped(reading, source, number, row, remarks) for number, row in read_rows(source, reading, remarks))
        shape, rows = self._recognise(source, (row for row in rows if row is not None))
        if shape is None:  # a file left out, or without rows
            return
        n_good, fault = 0, ""
        for number, row in rows:
            try:
                found = shape.convert(row, source.place, n_good)
            except Rejected as rejected:
                fault = fault or f", the first at {number}: {rejected}"
                reading.reject(remarks, source, number, rejected.what, rejected.detail)
                continue
            n_good += 1
            n_records += len(found)
            yield from (replace(record, line=number) for record in found)
        n_rejected = remarks.n_rejected - rejected_before
        if not n_good:
            raise Unreadable(source, f"read as {shape.name}: every row was rejected ({n_rejected:,}){fault}")
        self.files.append(FileRead(source, shape.name, shape.kind, n_good + n_rejected, n_records, n_rejected))

    @property
    def n_rows(self) -> int:
        """Rows and documents read in this pass so far, the rejected ones too; whole files count."""
        return sum(file.n_rows for file in self.files)

    @property
    def n_rejected(self) -> int:
        """Rows rejected in this pass so far."""
        return self.remarks.n_rejected

    @property
    def rejections(self) -> list[tuple[str, str]]:
        """(file:line, reason) of the first hundred rejected rows."""
        return self.remarks.rejected

    def summary(self) -> list[str]:
        """What was read and what was not, a line each: to be said aloud after a pass."""
        lines = [str(file) for file in self.files]
        lines += [
            f"rejected: {place} has {reason}" if reason.startswith("no ") else f"rejected: {place}: {reason}"
            for place, reason in self.rejections[:5]
        ]
        if self.n_rejected > 5:
            lines.append(f"... and {self.n_rejected - 5:,} more")
        notes = sorted(self.remarks.items())
        return lines + [counted(count, what) for what, count in notes if not what.startswith("rows rejected")]

    def _recognise(self, source: Source, rows: Iterator[NumberedRow]) -> tuple[Shape | None, Iterator[NumberedRow]]:
        begin: list[NumberedRow] = []
        shape = SHAPES[self._reading.shape] if self._reading.shape else None
        for number, row in rows:
            begin.append((number, row))
            shape = shape or shape_of(row, self._kind)
            if shape is not None or len(begin) >= _ROWS_TO_RECOGNISE:
                break
        if begin and shape is None:
            other = next((found for _, row in begin if (found := shape_of(row))), None)
            if other is not None:
                self._check_kind(source, other.kind)
            raise Unreadable(
                source,
                f"rows of no shape that is known; they have {listed(begin[0][1])}; name those that are prompt and completion, "
                "text, text and label, or chosen and rejected by map (prompt=THEIRS completion=THEIRS ...)",
            )
        if shape is not None:
            self._check_kind(source, shape.kind)
        return (shape if begin else None), chain(begin, rows)

    def _check_kind(self, source: Source, kind: str) -> None:
        if self._kind not in (None, kind):
            hint = _LABELS if self._kind == "labelled" else ""
            raise Unreadable(source, f"its rows are {kind} records, not {self._kind}{hint}")


def read_records(
    paths: Paths,
    kind: Literal["document", "conversation", "preference", "labelled"] | None = None,
    *,
    format: str | None = None,
    map: Mapping[str, str] | None = None,
    encoding: str | None = None,
    separator: str | None = None,
    on_bad_row: Literal["stop", "skip"] = "skip",
) -> Records:
    """The rows under `paths` as `Document`, `Conversation`, `Preference` or `LabelledText` records, streamed.

    The shape of the rows is recognised, unless `format` names it; `kind` asks for one kind of record; `map` gives our
    fields their names in the file (`{"completion": "reply"}`). A row that cannot be used is left out and counted
    (`records.rejections`), or an error with `on_bad_row="stop"`. Raises `GroundupError` for files of no known shape,
    files whose every row is rejected, and files of different kinds.
    """
    if kind is not None and kind not in KINDS:
        raise unknown_name("kind of record", kind, KINDS)
    reading, left_out = Reading(None, separator, format, map or {}, encoding, on_bad_row), Remarks()
    return Records(reading.sources(paths, left_out), reading, kind, left_out)


def _mapped(reading: Reading, source: Source, number: int, row: Row, remarks: Remarks) -> NumberedRow | None:
    """The row with its fields called as ours; None, rejected, when one that was named is not there."""
    if not reading.map:
        return number, row
    mapped = dict(row)
    for ours, theirs in reading.map.items():
        names = theirs.split("+")
        if missing := next((name for name in names if name not in row), None):
            reading.reject(remarks, source, number, f"no field {missing!r}", f" for {ours}; it has {listed(row)}")
            return None
        mapped[ours] = row[theirs] if len(names) == 1 else "\n\n".join(str(row[name]) for name in names if row[name])
    return number, mapped
