"""What shapes are made of: a name, the kind of record it gives, how it is recognised and how a row is converted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from groundup.data.formats.rows import Row, shown
from groundup.data.records import Record
from groundup.data.remote import Place


class Rejected(Exception):
    """A row that is not what its shape asks: `what` is the same for all such rows, `detail` this row's own."""

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(what + detail)
        self.what = what
        self.detail = detail


@dataclass(frozen=True)
class Shape:
    """`fits` looks at a row's fields; `convert(row, source, index)` gives its records (most often one) or raises `Rejected`."""

    name: str
    kind: str
    fits: Callable[[Row], bool]
    convert: Callable[[Row, Place, int], list[Record]]


def text_of(row: Row, name: str, *, may_be_empty: bool = False) -> str:
    """The text in a field. Raises `Rejected` when it is missing, empty or no text."""
    value = row.get(name)
    if value is None:
        if may_be_empty:
            return ""
        raise Rejected(f"no {name}")
    if not isinstance(value, str):
        raise Rejected(f"{name} is not text", f" but {shown(repr(value))}")
    if not value.strip() and not may_be_empty:
        raise Rejected(f"{name} is empty")
    return value


def is_text(value: Any) -> bool:
    """Whether a value can stand where a text is asked: text, or nothing (which converting will reject)."""
    return value is None or isinstance(value, str)
