"""Lines that do not belong: notices that stand in document after document, and what C4 takes for no sentence.

The one idea: a line says what it is by where else it stands. Every distinct line of a document is one 64-bit number on
disk, sorted into 64 heaps by its first bits; a heap is counted by a sort. So the lines in many documents are known
exactly, and memory holds one heap at a time, whatever the corpus. Digits count as alike, so that "Page 3 of 12" is one
line with "Page 4 of 12". CCNet (Wenzek et al. 2020, section 3.2) takes repeated paragraphs for boilerplate in the same way.

C4's line rules (Raffel et al. 2020, section 2.2): a line ends as a sentence ends, has five words (where words are told by
blanks), no word Javascript, and is no notice of policy.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from groundup.data.cleaning.figures import Measured, ends_a_sentence

# Shorter lines (`}`, "Yes.", "* * *") repeat for reasons of their own.
SHORTEST_LINE = 20
SHARE_OF_DOCUMENTS = 0.001

_HEAPS = 64
_HELD = 1 << 20  # numbers in memory before they go to disk: 8 MB
_DIGITS = re.compile(r"\d+")
_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


class LineCounts:
    """Counts in how many documents each line stands; `folder` takes what does not fit in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[int] = []

    def add(self, text: str) -> None:
        """Count the lines of one document, each once."""
        self._held.extend({line_number(line) for line in text.split("\n") if len(line) >= SHORTEST_LINE} - {0})
        if len(self._held) >= _HELD:
            self._spill()

    def frequent(self, fewest: int) -> np.ndarray:
        """The numbers of the lines that stand in at least `fewest` documents, sorted."""
        self._spill()
        found = []
        for heap in sorted(self._folder.glob("lines-*.u64")):
            numbers, counts = np.unique(np.fromfile(heap, np.uint64), return_counts=True)
            found.append(numbers[counts >= fewest])
        return np.sort(np.concatenate(found)) if found else np.zeros(0, np.uint64)

    def _spill(self) -> None:
        numbers = np.sort(np.array(self._held, np.uint64))
        cuts = np.searchsorted(numbers, np.arange(1, _HEAPS, dtype=np.uint64) << np.uint64(64 - 6))
        for index, part in enumerate(np.split(numbers, cuts)):
            if len(part):
                with open(self._folder / f"lines-{index:02d}.u64", "ab") as file:
                    part.tofile(file)
        self._held = []


def line_number(line: str) -> int:
    """64 bits that stand for a line, its digits and the blanks at its ends put aside; 0 for one too short to count."""
    line = _DIGITS.sub("0", line.strip())
    if len(line) < SHORTEST_LINE:
        return 0
    return int.from_bytes(hashlib.blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def without_lines(text: str, frequent: np.ndarray) -> tuple[str, list[str]]:
    """`text` without its lines whose number is in `frequent`, and those lines."""
    if not len(frequent):
        return text, []
    lines = text.split("\n")
    numbers = np.array([line_number(line) if len(line) >= SHORTEST_LINE else 0 for line in lines], np.uint64)
    at = np.minimum(np.searchsorted(frequent, numbers), len(frequent) - 1)
    out = (frequent[at] == numbers) & (numbers != 0)
    if not out.any():
        return text, []
    taken = [lines[index] for index in np.flatnonzero(out)]
    return "\n".join(line for index, line in enumerate(lines) if not out[index]), taken


def as_c4_keeps(measured: Measured) -> tuple[str, list[str]]:
    """The text that C4's line rules leave, and the lines they take out."""
    kept: list[str] = []
    taken: list[str] = []
    whole = measured.text.lower()
    notices = [notice for notice in ("javascript", *_POLICY) if notice in whole]
    for line in measured.lines:
        keep = (
            ends_a_sentence(line)
            and not line.endswith("...")
            and (not measured.is_spaced or len(line.split(None, 4)) == 5)
            and not any(notice in line.lower() for notice in notices)
        )
        (kept if keep else taken).append(line)
    return "\n".join(kept), taken


def total_bytes(lines: Iterable[str]) -> int:
    """Bytes of `lines` with their line ends."""
    return sum(len(line.encode("utf-8", "surrogatepass")) + 1 for line in lines)
