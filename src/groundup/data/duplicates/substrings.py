"""Long stretches of text that stand in the corpus before.

One idea: what Lee et al. 2022 (Deduplicating training data makes language models better, arXiv:2107.06499, section 4.1)
find with a suffix array of the whole corpus, found by anchors (see `anchors`) that are few enough to be remembered,
and then verified byte by byte against the earlier place. The first of two passes finds which anchors occur twice; the
second remembers the places of these alone, and stretches every agreement as far as it goes.

Guarantee: every stretch of at least `min_characters` that repeats an earlier one is found, whole, and nothing else is.
The earlier one stands in a document before, or in the same document without overlapping. Why: such a stretch holds an
anchor, and a place of an anchor is left out of memory only where every stretch around it has been found to be a repeat,
so that an earlier place serves as well. Two exceptions keep the time linear. Of one anchor's bytes, the first four
places are remembered: a repeat is missed if all its anchors (7/8 of `min_characters` long) stand in more than four
different contexts, as in boilerplate a little longer than itself. And of a stretch that repeats itself ("-----"), its
first and last place are: there the ends may be off by less than a period.

Memory: 128 MB, and about 26 bytes (46 while a table grows) for each anchor that occurs twice, one for every 13 bytes
of repeated text with the default length. Ten gigabytes with a tenth repeated: 0.3 to 0.5 GB. The text itself is
written to a temporary file, to be compared with: as much disk as the corpus is long.
"""

from __future__ import annotations

import os
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from groundup.core.errors import GroundupError
from groundup.core.files import clear_write_errors
from groundup.data.duplicates.anchors import anchors
from groundup.data.duplicates.table import NONE, HashTable

_LEAST_CHARACTERS = 32
_SEPARATOR = b"\xff"  # between documents: no byte of UTF-8
_FILTER_BITS = 30
_MOST_PLACES = 4
_BATCH_BYTES = 1 << 20
_BESIDE = 64  # bytes on both sides of an anchor that are read at once

Span = tuple[int, int]


def repeated_spans(
    texts: Callable[[], Iterable[str]], *, min_characters: int = 200, scratch: str | Path | None = None
) -> Iterator[list[Span]]:
    """For each text the spans (start, end), in characters, that stand before; taking them out leaves the first occurrence.

    `texts` is called twice and must give the same texts. Spans are in order and do not touch. `scratch` is the folder
    for the temporary file (by default the system's). 50 tokens, the length in the paper, are about 200 characters of English.
    """
    if min_characters < _LEAST_CHARACTERS:
        raise GroundupError(f"min_characters is {min_characters}; it must be at least {_LEAST_CHARACTERS}")
    folder = Path(scratch or tempfile.gettempdir())
    if not folder.is_dir():
        raise GroundupError(f"{folder} is no folder; give one for the temporary file")
    return _in_two_passes(texts, min_characters, folder)


def _in_two_passes(texts: Callable[[], Iterable[str]], min_characters: int, folder: Path) -> Iterator[list[Span]]:
    window = min_characters // 8
    length = min_characters - window + 1
    repeated = _repeated_anchors(texts(), length, window)
    with tempfile.TemporaryFile(dir=folder) as file:
        corpus = _Corpus(cast(BinaryIO, file), folder, repeated, min_characters, length)
        for batch in _batches(texts()):
            yield from corpus.spans_of(batch, window)


def _repeated_anchors(texts: Iterable[str], length: int, window: int) -> HashTable:
    """The anchors that occur twice, numbered, and the few that a bit of the filter makes look so."""
    seen = np.zeros(1 << (_FILTER_BITS - 3), np.uint8)
    repeated = HashTable()
    for batch in _batches(texts):
        for _, hashes in anchors(_SEPARATOR.join(batch), length, window):
            hashes, counts = np.unique(hashes, return_counts=True)
            bits = hashes >> np.uint64(64 - _FILTER_BITS)
            places, masks = bits >> np.uint64(3), (1 << (bits & np.uint64(7))).astype(np.uint8)
            again = hashes[(seen[places] & masks != 0) | (counts > 1)]
            np.bitwise_or.at(seen, places, masks)
            again = again[repeated.find(again) == NONE]
            repeated.add(again, np.arange(len(repeated), len(repeated) + len(again), dtype=np.uint32))
    return repeated


def _batches(texts: Iterable[str]) -> Iterator[list[bytes]]:
    """Whole documents, as UTF-8, about a megabyte at a time."""
    batch: list[bytes] = []
    size = 0
    for text in texts:
        batch.append(text.encode("utf-8", "surrogatepass"))
        size += len(batch[-1]) + 1
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Corpus:
    """The text so far, on disk, and the places of its repeated anchors. Places count bytes from the first document on."""

    def __init__(self, file: BinaryIO, folder: Path, repeated: HashTable, min_characters: int, length: int) -> None:
        self._file, self._folder, self._repeated = file, folder, repeated
        self._min_characters, self._length = min_characters, length
        self._first = np.full(len(repeated), -1, np.int64)
        self._others: dict[int, list[int]] = {}
        self._n_bytes = 0

    def spans_of(self, batch: list[bytes], window: int) -> Iterator[list[Span]]:
        joined = _SEPARATOR.join((*batch, b""))
        begin, self._n_bytes = self._n_bytes, self._n_bytes + len(joined)
        with clear_write_errors(self._folder):
            self._file.write(joined)
            self._file.flush()
        found = [
            (places + begin, self._repeated.find(hashes)) for places, hashes in anchors(joined, self._length, window)
        ]
        places, names = (np.concatenate(parts) for parts in zip(*found, strict=True))
        known = np.flatnonzero(names != NONE)
        known = known[np.argsort(places[known], kind="stable")]
        places, names = places[known], names[known]
        for text in batch:
            end = begin + len(text)
            mine = slice(*np.searchsorted(places, [begin, end - self._length + 1]))
            yield self._spans(text, begin, places[mine].tolist(), names[mine].tolist())
            begin = end + 1

    def _spans(self, text: bytes, begin: int, places: list[int], names: list[int]) -> list[Span]:
        """The spans of the document that begins at `begin`, of whose anchors these were seen twice."""
        if not places:
            return []
        is_start = None if text.isascii() else _character_starts(text)
        # The stretches around an anchor that decide whether it is of any more use: up to 4 bytes a character.
        reach = self._min_characters * (1 if is_start is None else 4)
        matches: list[Span] = []
        open_: list[Span] = []  # the matches that end behind the current place
        last: dict[int, int] = {}  # where each anchor was looked up last in this document
        at = 0
        while at < len(places):
            place, name = places[at], names[at]
            open_ = [match for match in open_ if match[1] > place]
            around = max(place + self._length - reach, begin), min(place + reach, begin + len(text))
            if match := _holding(open_, around):
                is_rest = match[1] == begin + len(text)
                at = len(places) if is_rest else max(at + 1, bisect_right(places, match[1] - reach, at))
                continue
            at += 1
            goes_on = place - last.get(name, -self._length) < self._length  # it overlaps itself: "----------"
            last[name] = place
            earlier = [] if self._first[name] < 0 else [int(self._first[name]), *self._others.get(name, ())]
            for other in earlier:
                if other >= begin and self._overlap(is_start, other - begin, place - begin):
                    continue
                start, end = _whole_characters(is_start, *self._stretched(text, place - begin, other))
                if _n_characters(is_start, start, end) >= self._min_characters:
                    matches.append((start, end))
                    open_.append((start + begin, end + begin))
                    if _holding(open_, around):
                        break
            if not earlier:
                self._first[name] = place
            elif not _holding(open_, around):
                self._add_place(name, place, begin, goes_on)
        spans = _merged(matches)
        if is_start is None or not spans:
            return spans
        n_before = np.concatenate([[0], np.cumsum(is_start)])
        return [(int(n_before[start]), int(n_before[end])) for start, end in spans]

    def _overlap(self, is_start: np.ndarray | None, one: int, other: int) -> bool:
        near = other - one < 4 * self._min_characters  # in bytes; further apart, counting is not needed
        return near and _n_characters(is_start, one, other) < self._min_characters

    def _add_place(self, name: int, place: int, begin: int, goes_on: bool) -> None:
        """Of a stretch that repeats itself over and over, the first place and the last are enough."""
        others = self._others.setdefault(name, [])
        if goes_on and others and (len(others) > 1 or self._first[name] >= begin) and others[-1] >= begin:
            others[-1] = place
        elif 1 + len(others) < _MOST_PLACES:
            others.append(place)

    def _stretched(self, text: bytes, at: int, other: int) -> Span:
        """The stretch of `text` around its byte `at` that agrees with what stands around the earlier place `other`."""
        left, right = min(_BESIDE, at, other), min(self._length + _BESIDE, len(text) - at)
        theirs = self._read(other - left, left + right)  # most agreements end within this
        wide, far = left, right
        left = _agreement(text[at - wide : at][::-1], theirs[:wide][::-1])
        right = _agreement(text[at : at + far], theirs[wide:])
        while right == far and (step := min(4 * far, len(text) - at - far)):
            right += _agreement(text[at + far : at + far + step], self._read(other + far, step))
            far += step
        while left == wide and (step := min(4 * wide, at - wide, other - wide)):
            begin, end = at - wide - step, at - wide
            left += _agreement(text[begin:end][::-1], self._read(other - wide - step, step)[::-1])
            wide += step
        return at - left, at + right

    def _read(self, place: int, n_bytes: int) -> bytes:
        return os.pread(self._file.fileno(), n_bytes, place)


def _agreement(one: bytes, other: bytes) -> int:
    """With how many equal bytes both begin."""
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return size
    return int(np.argmax(np.frombuffer(one, np.uint8, size) != np.frombuffer(other, np.uint8, size)))


def _character_starts(text: bytes) -> np.ndarray:
    """Which bytes of UTF-8 begin a character."""
    return np.frombuffer(text, np.uint8) & 0xC0 != 0x80


def _n_characters(is_start: np.ndarray | None, start: int, end: int) -> int:
    return end - start if is_start is None else int(np.count_nonzero(is_start[start:end]))


def _whole_characters(is_start: np.ndarray | None, start: int, end: int) -> Span:
    """The stretch without parts of characters at its ends."""
    if is_start is not None:
        while start < end and not is_start[start]:
            start += 1
        while start < end < len(is_start) and not is_start[end]:
            end -= 1
    return start, end


def _holding(matches: list[Span], stretch: Span) -> Span | None:
    return next((match for match in matches if match[0] <= stretch[0] and stretch[1] <= match[1]), None)


def _merged(matches: list[Span]) -> list[Span]:
    spans: list[Span] = []
    for start, end in sorted(matches):
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((start, end))
    return spans
