"""Evaluation items that stand in a training corpus.

One idea: a document that shares thirteen words in a row with an evaluation item has probably seen it (Brown et al. 2020,
Language models are few-shot learners, appendix C; case and punctuation do not count). The choices there that are also taken here:
an item shorter than thirteen words, but of eight or more, is looked for as a whole; still shorter ones would be met
by chance and are only counted. A run of words that more than ten items share (instructions, answer formats) says nothing
about any of them and is left out; there the bound of ten was on training documents, which a stream does not know yet.

In scripts without spaces every character is a word here, and a word has about two characters: an item of mostly such characters
is looked for by twice as many, 26, or as a whole from 16.

Runs are compared by 64-bit hashes: with a million of them from evaluation sets, a corpus of ten billion words
meets one by accident with a chance of 0.05 %.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from groundup.core.errors import GroundupError
from groundup.data.duplicates.hashing import Stretches
from groundup.data.duplicates.table import NONE, HashTable
from groundup.data.duplicates.words import Words, hash_words
from groundup.data.reading import ROW_READERS, Reading, documents_of, read_documents, read_rows
from groundup.data.sources import Paths

_LEAST_OF_13 = 8
_MOST_ITEMS = 10
_AT_ONCE = 1000
_EXCERPT = 160


@dataclass(frozen=True)
class Leak:
    """Text of an evaluation item in a document: the item (set, number from 0), where (characters) and what it reads."""

    name: str
    index: int
    start: int
    end: int
    excerpt: str


class EvaluationIndex:
    """The runs of words of evaluation sets. About 20 bytes for each word of them.

    `n_items` were given; `n_too_short` of them have too few words to be looked for; `n_common` runs were left out because
    more than ten items have them.
    """

    def __init__(self, items: Iterable[tuple[str, int, str]], *, words: int = 13) -> None:
        """`items` are (name of the set, number of the item in it, text)."""
        if words < 2:
            raise GroundupError(f"words is {words}; give at least 2 (GPT-3 took 13)")
        self._words = words
        self._items: list[tuple[str, int]] = []
        self.n_too_short = self.n_common = 0
        collected: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}  # by length of the run: hashes, items
        items = iter(items)
        while some := list(islice(items, _AT_ONCE)):
            first = len(self._items)
            self._items += [(name, index) for name, index, _ in some]
            self._collect(hash_words([text for _, _, text in some]), first, collected)
        self._tables = {length: self._table(parts) for length, parts in sorted(collected.items())}

    @classmethod
    def from_texts(cls, name: str, texts: Iterable[str], *, words: int = 13) -> EvaluationIndex:
        """An index of one set, one text an item."""
        return cls(((name, index, text) for index, text in enumerate(texts)), words=words)

    @classmethod
    def from_paths(cls, paths: Paths, *, text_field: str | None = None, words: int = 13) -> EvaluationIndex:
        """An index of evaluation files. Of a JSON row, the strings of all fields are the item, or `text_field` alone; other
        files are read as any corpus is. A set is named after its file."""
        return cls(_items(paths, text_field), words=words)

    @property
    def n_items(self) -> int:
        return len(self._items)

    def matches(self, text: str) -> list[Leak]:
        """What of the evaluation sets stands in `text`, in order; neighbouring runs of one item are one leak."""
        return self.matches_many([text])[0]

    def matches_many(self, texts: Sequence[str]) -> list[list[Leak]]:
        """`matches` for each text; quicker for many short ones."""
        leaks: list[list[Leak]] = [[] for _ in texts]
        words = hash_words(texts)
        stretches = Stretches(words.hashes)
        found: list[tuple[int, int, int, int]] = []  # document, item, first word, word after the last
        for length, table in self._tables.items():
            numbers = table.find(stretches.every(length))
            hits = np.flatnonzero(numbers != NONE)
            documents = np.searchsorted(words.bounds, hits, side="right") - 1
            inside = hits + length <= words.bounds[documents + 1]
            hits, documents = hits[inside], documents[inside]
            found += zip(*(part.tolist() for part in (documents, numbers[hits], hits, hits + length)), strict=True)
        for document, item, begin, end in _joined(found):
            start, stop = int(words.starts[begin]), int(words.ends[end - 1])
            leaks[document].append(Leak(*self._items[item], start, stop, _shown(texts[document][start:stop])))
        return [sorted(some, key=lambda leak: (leak.start, leak.end)) for some in leaks]

    def _collect(self, words: Words, first: int, collected: dict[int, list[tuple[np.ndarray, np.ndarray]]]) -> None:
        stretches = Stretches(words.hashes)
        for number, (begin, end) in enumerate(zip(words.bounds[:-1].tolist(), words.bounds[1:].tolist(), strict=True)):
            factor = 2 if words.alone[begin:end].sum() * 2 > end - begin else 1
            length = min(factor * self._words, end - begin)
            if length < factor * self._words * _LEAST_OF_13 / 13:
                self.n_too_short += 1
                continue
            starts = np.arange(begin, end - length + 1)
            hashes = np.unique(stretches.hashes(starts, starts + length))
            collected.setdefault(length, []).append((hashes, np.full(len(hashes), first + number, np.uint32)))

    def _table(self, parts: list[tuple[np.ndarray, np.ndarray]]) -> HashTable:
        hashes, items = (np.concatenate(some) for some in zip(*parts, strict=True))
        distinct, first, counts = np.unique(hashes, return_index=True, return_counts=True)
        telling = counts <= _MOST_ITEMS
        self.n_common += len(counts) - int(telling.sum())
        table = HashTable()
        table.add(distinct[telling], items[first[telling]])
        return table


def _joined(found: list[tuple[int, int, int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """Runs of the same item in the same document that overlap or touch, as one."""
    current = None
    for document, item, begin, end in sorted(found):
        if current and current[:2] == (document, item) and begin <= current[3]:
            current = (document, item, current[2], max(end, current[3]))
        else:
            if current:
                yield current
            current = (document, item, begin, end)
    if current:
        yield current


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _EXCERPT else f"{text[: _EXCERPT // 2 - 2]} ... {text[3 - _EXCERPT // 2 :]}"


# ---- evaluation files


def _items(paths: Paths, text_field: str | None) -> Iterator[tuple[str, int, str]]:
    if text_field is not None:
        for document in read_documents(paths, text_field=text_field):
            yield document.source.name, document.index, document.text
        return
    reading = Reading()
    for source in reading.sources(paths):
        name = source.place.name
        if (
            source.kind in ROW_READERS
        ):  # what a row's fields are called differs with every evaluation set: all its strings
            rows = read_rows(source, reading, Counter())
            yield from ((name, index, "\n".join(_strings(row))) for index, (_, row) in enumerate(rows))
        else:
            yield from ((name, found.index, found.text) for found in documents_of(source, reading, Counter()))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)
