"""A label and its text a line, nothing else: `DESC:def What is a fuel cell ?`, `__label__spam Win cash now`.

One idea: the first word is the label. So TREC's questions are kept (Li and Roth 2002), and fastText's examples, whose labels
begin with `__label__` and may be several. No line looks different from plain text, so a person has to ask for this format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from groundup.data.decoding import decoded, whole_lines
from groundup.data.formats.rows import NumberedRow, Wanted, shown
from groundup.data.sources import Source

if TYPE_CHECKING:
    from groundup.data.reading import Reading

PREFIX = "__label__"


def label_rows(
    source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str], wanted: Wanted
) -> Iterator[NumberedRow]:
    """The rows of a file of labels and texts; empty lines are none. A line of one word is a bad row."""
    number = 0
    for block in whole_lines(source, decoded(source, file, remarks, encoding=reading.encoding)):
        for line in block.split("\n"):
            number += 1
            words = line.split(maxsplit=1)
            if not words:
                continue
            labels = [words[0].removeprefix(PREFIX)]
            while len(words) == 2 and words[1].startswith(PREFIX):
                words = words[1].split(maxsplit=1)
                labels.append(words[0].removeprefix(PREFIX))
            if len(words) < 2 or not all(labels):
                reading.reject(remarks, source, number, "no label with a text behind it", f": {shown(line.strip())}")
                continue
            yield number, {"label": labels[0] if len(labels) == 1 else labels, "text": words[1].strip()}
        number -= 1  # a block ends with a line end, so its split ends with an empty string that is no line
