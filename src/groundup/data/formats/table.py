"""Tables of text: comma separated with quotes (RFC 4180); tab separated without, as IANA's text/tab-separated-values.

One idea: the first line names the columns, unless it cannot. It is taken for a row when no name in it is one we know
and a cell of it is a number or comes again further down its column, as a label does; then columns are called by their
number. What is decided is said.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, BinaryIO

from groundup.data.decoding import decoded, whole_lines
from groundup.data.fields import is_known_name
from groundup.data.formats.rows import NumberedRow, Wanted
from groundup.data.remarks import Unreadable, count_first
from groundup.data.sources import Source

if TYPE_CHECKING:
    from groundup.data.reading import Reading

LARGEST_FIELD = 1 << 26  # characters: an open quote would otherwise take the rest of the file for one field

_SAMPLE_ROWS = 100


def table_rows(
    source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str], wanted: Wanted
) -> Iterator[NumberedRow]:
    """The rows of a table; one with too few cells, or broken quotes, is a bad row."""
    blocks = decoded(source, file, remarks, encoding=reading.encoding)
    lines = (line for block in whole_lines(source, blocks) for line in io.StringIO(block, newline="\n"))
    first = next(lines, "")
    csv.field_size_limit(LARGEST_FIELD)
    if source.kind == "tsv":
        cells = csv.reader(chain([first], lines), delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        delimiter = _delimiter(first)
        if delimiter != ",":
            count_first(remarks, f"tables whose columns {delimiter!r} divides, not a comma", source)
        cells = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    numbered = _cells(source, cells, reading, remarks)
    begin = list(islice(numbered, _SAMPLE_ROWS))
    if not begin:
        return
    names = [name.strip() for name in begin[0][1]]
    if _is_a_row(names, [row for _, row in begin[1:]], reading):
        names = [str(number) for number in range(1, len(names) + 1)]
        count_first(remarks, "tables without a line of names: their columns are called 1, 2, ...", source)
    else:
        doubled = [name for name, count in Counter(names).items() if count > 1 and name]
        if doubled:
            raise Unreadable(f"{source}:1", f"two columns are called {doubled[0]!r}; rename one")
        del begin[0]
    for number, row in chain(begin, numbered):
        if len(row) < len(names):
            detail = f", but {len(names)} columns are named"
            reading.reject(remarks, source, number, f"the row has {len(row)} columns", detail)
            continue
        yield number, dict(zip(names, row, strict=False))


def _cells(
    source: Source, rows: Iterator[list[str]], reading: Reading, remarks: Counter[str]
) -> Iterator[tuple[int, list[str]]]:
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            reading.reject(remarks, source, rows.line_num, "not valid CSV", f": {error}")  # type: ignore[attr-defined]
            continue
        if row is None:
            return
        if row:
            yield rows.line_num, row  # type: ignore[attr-defined]


def _delimiter(first: str) -> str:
    """A comma, or what divides the first line when it has no comma: `;` where commas are decimal points, or a tab."""
    return "," if "," in first else next((mark for mark in (";", "\t") if mark in first), ",")


def _is_a_row(names: list[str], below: list[list[str]], reading: Reading) -> bool:
    """Whether the first line is a row like those below it."""
    asked = [reading.text_field, *reading.map.values()]
    if any(name and not name.isdecimal() for name in asked):
        return False  # a person named a column
    if any(is_known_name(name) for name in names):
        return False
    if any(_is_number(name) or not name for name in names):
        return True
    columns = [{row[index] for row in below if len(row) > index} for index in range(len(names))]
    return any(name in column for name, column in zip(names, columns, strict=True))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
