"""JSON files: a list of rows, read one row at a time; or an object that holds one.

One idea: the standard decoder can begin anywhere in a text and says where it stopped. So a list of any length passes
through a window that grows only while a row does not end in it. A `.json` file with an object on each line is read as
the JSON lines it is. An object is read whole: a list of objects called as data usually is (`{"data": [...]}`) gives the
rows; in the layout of SQuAD (Rajpurkar et al. 2016), the paragraphs of its articles do; any other object is one row.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

from groundup.data.decoding import decoded
from groundup.data.formats.jsonl import rows_of_lines
from groundup.data.formats.rows import NumberedRow, Row, Wanted, listed, shown, whole_characters
from groundup.data.remarks import Unreadable
from groundup.data.sources import Source

if TYPE_CHECKING:
    from groundup.data.reading import Reading

_LARGEST_WHOLE = 1 << 28  # characters of one row, or of an object that must be read whole
_SPACE = " \t\r\n"
_WRAPPERS = ("data", "rows", "examples", "records", "items", "documents", "train")


def json_rows(
    source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str], wanted: Wanted
) -> Iterator[NumberedRow]:
    """The rows of a JSON file; a row's number is the line it begins at."""
    blocks = decoded(source, file, remarks, encoding=reading.encoding)
    head = ""
    while not head.strip(_SPACE) and (block := next(blocks, "")):
        head += block
    blocks = chain([head], blocks)
    begin = head.lstrip(_SPACE)[:1]
    if begin == "[":
        yield from _list_rows(source, blocks, reading, remarks)
    elif begin == "{" and _is_json_lines(head):
        yield from rows_of_lines(source, blocks, reading, remarks)
    elif begin == "{":
        yield from _rows_of_object(source, blocks, remarks)
    else:
        raise Unreadable(source, f"no JSON list or object: it begins with {shown(head.strip())!r}")


def _is_json_lines(head: str) -> bool:
    """Whether the first line is an object by itself, with another after it."""
    first, _, rest = head.lstrip(_SPACE).partition("\n")
    if not rest.lstrip(_SPACE).startswith("{"):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (json.JSONDecodeError, RecursionError):
        return False


def _list_rows(source: Source, blocks: Iterator[str], reading: Reading, remarks: Counter[str]) -> Iterator[NumberedRow]:
    decode = json.JSONDecoder().raw_decode
    text, at, line, ended = "", 0, 1, False
    is_first = True

    def more() -> bool:
        """Bring in as much text as is held; False when there is none left."""
        nonlocal text, at, ended
        parts, size = [text[at:]], 0
        while size <= len(parts[0]) and (block := next(blocks, "")):
            parts.append(block)
            size += len(block)
        text, at, ended = "".join(parts), 0, size == 0
        return not ended

    def skip(characters: str) -> None:
        """Pass over white space and `characters`, counting lines."""
        nonlocal at, line
        while True:
            rest = len(text) - len(text[at:].lstrip(_SPACE + characters)) if at < len(text) else at
            line += text.count("\n", at, rest)
            at = rest
            if at < len(text) or not more():
                return

    skip("")
    at += 1  # the bracket
    while True:
        skip("" if is_first else ",")
        is_first = False
        if at >= len(text):
            raise Unreadable(f"{source}:{line}", "the list does not end: the file is cut off; get it again")
        if text[at] == "]":
            return
        try:
            row, end = decode(text, at)
        except json.JSONDecodeError as error:
            if _may_be_cut(error, len(text)) and len(text) - at < _LARGEST_WHOLE and more():
                continue
            place = f"{source}:{line + text.count(chr(10), at, error.pos)}"
            raise Unreadable(
                place, f"not valid JSON ({error.msg}): {shown(text[error.pos : error.pos + 90])}"
            ) from None
        except RecursionError:
            raise Unreadable(f"{source}:{line}", "JSON nested too deeply") from None
        begun = line
        line += text.count("\n", at, end)
        if type(row) is not dict:
            reading.reject(remarks, source, begun, "a row is an object {...}", f", this is {shown(text[at:end])}")
        else:
            yield begun, whole_characters(row, text[at:end], remarks)
        at = end


def _may_be_cut(error: json.JSONDecodeError, length: int) -> bool:
    """Whether more text might mend this: a string not closed, or a fault at the very end (`tru`, `\\u12`)."""
    return error.msg.startswith("Unterminated string") or error.pos >= length - 16


def _rows_of_object(source: Source, blocks: Iterator[str], remarks: Counter[str]) -> Iterator[NumberedRow]:
    parts, size = [], 0
    for block in blocks:
        parts.append(block)
        size += len(block)
        if size > _LARGEST_WHOLE:
            raise Unreadable(source, f"one JSON object of over {size:,} characters; give its rows as .jsonl")
    text = "".join(parts)
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"{source}:{error.lineno}", f"not valid JSON ({error.msg}, column {error.colno})") from None
    except RecursionError:
        raise Unreadable(source, "JSON nested too deeply") from None
    rows = _unwrapped(source, whole)
    spelled = "\\ud" if "\\ud" in text or "\\uD" in text else ""  # looked for once, not for each row
    for number, row in enumerate(rows, 1):
        yield number, whole_characters(row, spelled, remarks)


def _unwrapped(source: Source, whole: Row) -> list[Row]:
    lists = {name: value for name, value in whole.items() if name in _WRAPPERS and _is_rows(value)}
    if not lists:
        return [whole]
    if len(lists) > 1:
        raise Unreadable(source, f"several lists of rows in one object ({listed(lists)}); give one of them as .jsonl")
    rows: list[Row] = next(iter(lists.values()))
    if all(_is_rows(article.get("paragraphs")) for article in rows):  # SQuAD
        return [paragraph | {"title": a.get("title")} for a in rows for paragraph in a["paragraphs"]]
    return rows


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
