"""What the formats of rows share: a row, its place, and how its values are shown in an error."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

Row = dict[str, Any]
NumberedRow = tuple[int, Row]  # the line (or, in binary tables, the row) of the file, counted from 1

# Given a table's columns, those that are wanted; None for all. What is not wanted is not read from the disk.
Wanted = Callable[[list[str]], list[str] | None]

_HALF = "rows with half a character (a lone surrogate), read as U+FFFD"


def all_columns(names: list[str]) -> list[str] | None:
    """Want every column."""
    return None


def listed(names: Iterable[str]) -> str:
    """`'a', 'b'`: names for an error."""
    return ", ".join(repr(name) for name in names)


def shown(text: str) -> str:
    """`text`, cut where it is too long for an error."""
    return text if len(text) <= 80 else text[:77] + "..."


def whole_characters(row: Row, spelled: str, remarks: Counter[str]) -> Row:
    r"""JSON can spell half a surrogate pair (`"\ud83d"`), which is no character and no file can hold: U+FFFD."""
    if "\\ud" not in spelled and "\\uD" not in spelled:
        return row
    try:
        json.dumps(row, ensure_ascii=False).encode()
        return row
    except UnicodeEncodeError:
        remarks[_HALF] += 1
        return _whole_characters(row)


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(name): _whole_characters(item) for name, item in value.items()}
    return value
