"""What a corpus is, file by file: what it was read as, how many rows, what was rejected, and its first record.

One idea: the first record is shown as the rooms after this one get it, so a wrong guess of the shape is seen at a glance.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass

from rich.console import Group
from rich.table import Table
from rich.text import Text

from groundup.core.errors import GroundupError, MissingExtraError
from groundup.core.files import readable_bytes
from groundup.data.reading_records import Records
from groundup.data.records import Record
from groundup.data.remarks import counted
from groundup.inspect.page import printable
from groundup.inspect.terminal import terminal_table

_MOST_FILES = 40
_MOST_NOTES = 8
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class FileLook:
    """One file of a corpus as it was read; `error` says why it could not be."""

    name: str
    format: str
    kind: str
    n_rows: int
    n_rejected: int
    n_bytes: int
    encoding: str
    first: Record | None
    error: str | None


def look_at_files(records: Records, advance: Callable[[int], None] = lambda n_bytes: None) -> list[FileLook]:
    """Read every file once, each by itself: one that cannot be read is told and the others go on."""
    looks = []
    for source in records.sources:
        first, error, n_before, n_rejected = None, None, len(records.files), records.n_rejected
        try:
            for record in records.of(source):
                first = first or record
        except MissingExtraError:
            raise
        except GroundupError as problem:
            error = str(problem).removeprefix(f"{source}: ").removeprefix(f"{source}:")
        advance(source.n_bytes)
        read = records.files[-1] if len(records.files) > n_before else None
        looks.append(
            FileLook(
                str(source),
                read.format if read else source.kind,
                read.kind if read else "",
                read.n_rows if read else 0,
                records.n_rejected - n_rejected,
                source.n_bytes,
                records.remarks.encodings.get(str(source), "utf-8" if source.kind not in _OWN_ENCODING else ""),
                first,
                error
                or records.remarks.unreadable.get(str(source))
                or (None if read else "no rows with anything in them"),
            )
        )
    return looks


_OWN_ENCODING = ("pdf", "docx", "parquet", "arrow")


def corpus_terminal(looks: list[FileLook], records: Records) -> Group:
    """A table of the files, what was left out or rejected, and the first record of each format."""
    good, bad = [look for look in looks if not look.error], [look for look in looks if look.error]
    parts: list[Table | Text] = []
    if good:
        header = ("file", "read as", "rows", "rejected", "size", "encoding")
        table = terminal_table(header, _rows(good), numbers=(2, 3, 4))
        for column in table.columns:
            column.overflow, column.no_wrap = "fold", column is not table.columns[0]
        parts.append(table)
    n_rejected = sum(look.n_rejected for look in looks)
    unread = f", {len(bad):,} not" if bad else ""
    parts.append(
        Text(
            f"\n{len(good):,} file{'s' * (len(good) != 1)} read{unread}; "
            f"{sum(look.n_rows for look in good):,} rows and documents, {n_rejected:,} rejected; "
            f"{readable_bytes(sum(look.n_bytes for look in looks))}"
        )
    )
    parts += [_note("not read", f"{look.name}: {look.error}") for look in bad[:_MOST_NOTES]]
    if len(bad) > _MOST_NOTES:
        parts.append(_note("", f"... and {len(bad) - _MOST_NOTES:,} more files"))
    parts += [_note("rejected", f"{place}: {why}") for place, why in records.rejections[:_MOST_NOTES]]
    if n_rejected > _MOST_NOTES:
        parts.append(_note("", f"... and {n_rejected - _MOST_NOTES:,} more rows"))
    parts += [
        _note("note", counted(count, what))
        for what, count in sorted(records.remarks.items())
        if not what.startswith(("rows rejected", "files left out"))
    ]
    seen = set()
    for look in good:
        if look.first is not None and look.format not in seen:
            seen.add(look.format)
            parts.append(Text(f"\nfirst record of {look.format} ({look.kind}), in {printable(look.name)}", "dim"))
            parts.append(Text(_shown(look.first)))
    return Group(*parts)


def _note(title: str, text: str) -> Text:
    return Text(f"{title:<12}{printable(text)}", "yellow")


def _rows(looks: list[FileLook]) -> list[tuple[str, ...]]:
    """A row a file; a row for all files of a folder that are alike, when there are many."""
    below = os.path.commonpath([os.path.dirname(look.name) for look in looks]) if "://" not in looks[0].name else ""
    groups: dict[tuple[str, ...], list[FileLook]] = {}
    for look in looks:
        place = os.path.dirname(look.name) if len(looks) > _MOST_FILES else look.name
        groups.setdefault((place, look.format, look.encoding), []).append(look)
    rows = []
    for (_, format, encoding), alike in groups.items():
        name = alike[0].name.removeprefix(below).lstrip("/") or alike[0].name
        if len(alike) > 1:
            name = f"{os.path.dirname(name) or '.'}/ ({len(alike):,} files)"
        counts = (sum(look.n_rows for look in alike), sum(look.n_rejected for look in alike))
        size = readable_bytes(sum(look.n_bytes for look in alike))
        rows.append((printable(name), format, *(f"{count:,}" for count in counts), size, encoding))
    return rows


def _shown(record: Record) -> str:
    """A record as its fields, a line each, long texts cut."""
    values = {name: value for name, value in asdict(record).items() if name not in ("source", "index")}
    lines = []
    for name, value in values.items():
        if name in ("messages", "prompt", "chosen", "rejected") and value is not None:
            lines += [f"  {name:<9} {message['role']}: {_cut(_said(message))}" for message in value[:6]]
            lines += [f"  {'':<9} ... and {len(value) - 6} more"] * (len(value) > 6)
        elif value not in ((), None):
            lines.append(
                f"  {name:<9} {_cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))}"
            )
        elif value is None:
            lines.append(f"  {name:<9} none")
    return "\n".join(lines)


def _said(message: dict) -> str:
    calls = message.get("tool_calls")
    return message["content"] + (f" calls {json.dumps(calls, ensure_ascii=False)}" if calls else "")


def _cut(text: str) -> str:
    return printable(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + " ...")
