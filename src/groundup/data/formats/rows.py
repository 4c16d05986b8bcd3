"""What the formats of rows share: how a row and its fields are named in an error."""

from __future__ import annotations

from collections.abc import Iterable

CHOOSE = "say which one holds the text by text_field"


def listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def shown(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
