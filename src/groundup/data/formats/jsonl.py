"""JSON lines: one object a line, one document a row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from groundup.core.errors import GroundupError
from groundup.data.decoding import decoded, line_blocks
from groundup.data.formats.rows import CHOOSE, listed, shown
from groundup.data.sources import Source

if TYPE_CHECKING:
    from groundup.data.reading import Piece, Reading


def jsonl_pieces(source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str]) -> Iterator[Piece]:
    path, field, parse = source.path, reading.field, json.JSONDecoder().decode
    number = 0
    for block in decoded(path, line_blocks(file)):
        for line in block.split("\n"):
            number += 1
            if not line or line.isspace():
                continue
            try:
                row = parse(line)
            except json.JSONDecodeError as error:
                raise GroundupError(
                    f"{path}:{number}: not valid JSON ({error.msg}, column {error.colno}): {shown(line)}; "
                    "a .jsonl file holds one object a line"
                ) from None
            except RecursionError:
                raise GroundupError(f"{path}:{number}: JSON nested too deeply: {shown(line)}") from None
            if type(row) is not dict:
                raise GroundupError(f"{path}:{number}: a row is an object {{...}}, this is {shown(line)}")
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
        raise GroundupError(f"{place}: no field {field!r}; it has {listed(row) or 'none'}: {CHOOSE}")
    if text is not None and text != "":
        raise GroundupError(f"{place}: field {field!r} holds {shown(json.dumps(text))}, not text")
    remarks["rows without text, left out"] += 1


def _without_half_characters(text: str, remarks: Counter[str]) -> str:
    r"""JSON can spell half a surrogate pair (`"\ud83d"`), which is no character and no file can hold: U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        remarks["rows with half a character (a lone surrogate), read as U+FFFD"] += 1
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
