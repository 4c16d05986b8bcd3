"""JSON lines: one object a line, one row a line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from groundup.data.decoding import decoded, whole_lines
from groundup.data.formats.rows import NumberedRow, Wanted, shown, whole_characters
from groundup.data.sources import Source

if TYPE_CHECKING:
    from groundup.data.reading import Reading


def jsonl_rows(
    source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str], wanted: Wanted
) -> Iterator[NumberedRow]:
    """The rows of a file of JSON lines; empty lines are none. A line that is no object is a bad row."""
    blocks = decoded(source, file, remarks, encoding=reading.encoding)
    return rows_of_lines(source, blocks, reading, remarks)


def rows_of_lines(
    source: Source, blocks: Iterator[str], reading: Reading, remarks: Counter[str]
) -> Iterator[NumberedRow]:
    """The rows of JSON lines already decoded."""
    parse = json.JSONDecoder().decode
    number = 0
    for block in whole_lines(source, blocks):
        for line in block.split("\n"):
            number += 1
            if not line or line.isspace():
                continue
            try:
                row = parse(line)
            except json.JSONDecodeError as error:
                detail = f" ({error.msg}, column {error.colno}): {shown(line)}"
                reading.reject(remarks, source, number, "not valid JSON", detail, _ONE_A_LINE)
                continue
            except RecursionError:
                reading.reject(remarks, source, number, "JSON nested too deeply", f": {shown(line)}")
                continue
            if type(row) is not dict:
                reading.reject(remarks, source, number, "a row is an object {...}", f", this is {shown(line)}")
                continue
            yield number, whole_characters(row, line, remarks) if "\\u" in line else row
        number -= 1  # a block ends with a line end, so its split ends with an empty string that is no line


_ONE_A_LINE = "a .jsonl file holds one object a line"
