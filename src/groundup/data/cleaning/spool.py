"""Kept documents on disk, until the passages that repeat among all of them are known.

The one idea: the search for repeated passages reads the whole text twice, which memory need not hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groundup.data.cleaning.documents import Document
from groundup.data.cleaning.judge import Verdict
from groundup.data.cleaning.together import Item

_LONGEST_WORD = 40  # characters


class Spool:
    """Documents on disk between the comparison and the search for repeated passages, which reads them twice."""

    def __init__(self, path: Path, characters: int) -> None:
        self._path, self._characters = path, characters
        self._file = open(path, "w", encoding="ascii")  # noqa: SIM115 (closed by `cut`)

    def add(self, item: Item) -> None:
        document, verdict = item.document, item.verdict
        row = [document.number, document.source, document.index, verdict.text, verdict.edits]
        self._file.write(json.dumps(row) + "\n")

    def _rows(self) -> Iterator[list[Any]]:
        with open(self._path, encoding="ascii") as file:
            for line in file:
                yield json.loads(line)

    def _texts(self) -> Iterator[str]:
        return (row[3] for row in self._rows())

    def cut(self) -> Iterator[tuple[Item, list[str]]]:
        """Each document with its repeated passages taken out of its text, and those passages."""
        from groundup.data.duplicates.substrings import repeated_spans

        self._file.close()
        spans = repeated_spans(self._texts, min_characters=self._characters, scratch=self._path.parent)
        for (number, source, index, text, edits), found in zip(self._rows(), spans, strict=True):
            passages, parts, at = [], [], 0
            for start, end in (_between_words(text, *span) for span in found):
                passages.append(text[start:end])
                parts.append(text[at:start])
                at = end
            if found:
                edits["substrings"] = len(found)
            left = "".join((*parts, text[at:]))
            yield Item(Document(number, source, index, text), Verdict(left, edits=edits)), passages


def _between_words(text: str, start: int, end: int) -> tuple[int, int]:
    """A passage without the parts of words at its ends, and with a blank left where it is taken out."""
    first, last = start, end
    while start < end and text[start - 1 : start].isalnum() and text[start].isalnum():
        start += 1
    while start < end and text[end : end + 1].isalnum() and text[end - 1].isalnum():
        end -= 1
    if start - first > _LONGEST_WORD or last - end > _LONGEST_WORD:  # no words: a script without blanks
        return first, last
    if start and not text[start - 1].isspace() and not text[end : end + 1].isspace():
        start += start < end and text[start].isspace()
    return start, end
