"""Tables of text: comma separated with quotes, tab separated without."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from groundup.core.errors import GroundupError
from groundup.data.decoding import decoded, line_blocks
from groundup.data.formats.rows import CHOOSE, listed
from groundup.data.sources import Source

if TYPE_CHECKING:
    from groundup.data.reading import Piece, Reading

_LARGEST_CSV_FIELD = (1 << 31) - 1


def table_pieces(source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str]) -> Iterator[Piece]:
    """Comma separated with quotes (RFC 4180); tab separated without, as IANA's text/tab-separated-values has none."""
    path, field = source.path, reading.field
    lines = (line for block in decoded(path, line_blocks(file)) for line in io.StringIO(block, newline="\n"))
    csv.field_size_limit(_LARGEST_CSV_FIELD)
    if source.kind == "tsv":
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        rows = csv.reader(lines, strict=True)
    try:
        names = next(rows, [])
        if field not in names:
            raise GroundupError(
                f"{path}:1: no column {field!r}; the first line names {listed(names) or 'none'}: {CHOOSE}"
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
