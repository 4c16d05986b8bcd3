r"""Text to the words of a pattern, counted: what byte-pair training reads, several times faster than the reference splits.

A trainer needs only the different words and how often each occurs, and text repeats itself. So it is first cut at spaces,
which is cheap; the pieces are counted; and only the different pieces are split by the pattern. That is exact, because
every pattern permits a cut before a space that follows a non-space (`patterns.py`), and for the same reason
many pieces can be split in one call.

Cutting and counting is done on bytes, by numpy and pyarrow, on all cores: both let go of Python's lock. Chunks are taken
back in order, so that what is written is the same for any number of threads.

Pieces in ASCII are split by Python's own `re`, twice as fast as `regex`, whose classes are spelled out for it; ASCII is the
same in every year's Unicode tables. The others are split by `tokenizers` itself, whose tables are of another year.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, pre_tokenizers

from groundup.core.device import n_cores
from groundup.tokenization.fast import byte_alphabet
from groundup.tokenization.patterns import Pattern

# Characters cut and counted in one go, by one thread; and the most threads that the texts come fast enough for.
_CHUNK = 1 << 20
_MOST_THREADS = 4
# Bytes of counted pieces held in memory, and different words; past that they move on, to be counted again further on.
_MOST_BYTES = 1 << 25
_MOST_WORDS = 500_000
# Bytes split in one call: more make the reference slower.
_CALL = 1 << 15

# All that str.isspace knows, in UTF-8, by the last byte; the three-byte ones as one number.
_SPACES = np.isin(np.arange(256), list(b"\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f "))
_TWO_BYTE_SPACES = [int.from_bytes(space.encode(), "big") for space in "\x85\u00a0"]
_THREE_BYTE_SPACES = [
    int.from_bytes(space.encode(), "big")
    for space in "\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
]
# Unicode's classes as far as ASCII has them, to stand in a character class.
_ASCII_CLASSES = {"L": "A-Za-z", "Lu": "A-Z", "Ll": "a-z", "Lt": "", "Lm": "", "Lo": "", "M": "", "N": "0-9"}


@dataclass(frozen=True)
class _Pieces:
    """What stood between two cuts: `joinable` follow a non-space and begin with a space; those `alone` do not.

    Both are tables of pyarrow: the different pieces (`piece`, bytes) and how often each occurred (`n`).
    """

    joinable: Any
    alone: Any


class WordCounts:
    """Counts the words of `pattern` in the texts given to `add` and writes them to `file` for a byte-pair trainer.

    The file holds each word as often as it occurred, spelled in the byte alphabet of GPT-2 (`fast.byte_alphabet`), which
    has no spaces; between words stands a space or a line break. Memory stays bounded whatever the text. `n_threads`
    (the cores, if left out) changes nothing in the file. It is used in a `with` block, whose end writes what is still held.
    """

    def __init__(self, pattern: Pattern, file: IO[str], n_threads: int | None = None) -> None:
        self._cuts_at_spaces = pattern.may_cut("a", " ")
        self._ascii_words = re.compile(ascii_regex(pattern.regex), re.ASCII).findall
        self._splitter = pre_tokenizers.Split(Regex(pattern.regex), behavior="isolated")
        self._file = file
        self._letters = str.maketrans({chr(byte): letter for letter, byte in byte_alphabet().items()})
        self._n_threads = n_threads or min(n_cores(), _MOST_THREADS)
        self._threads = ThreadPoolExecutor(self._n_threads)
        self._texts: list[str] = []
        self._n_characters = 0
        self._counting: deque[Future[_Pieces]] = deque()
        self._joinable: list[Any] = []
        self._alone: list[Any] = []
        self._words: Counter[str] = Counter()

    def __enter__(self) -> WordCounts:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._threads.shutdown(cancel_futures=True)

    def add(self, text: str) -> None:
        """Count the words of one text."""
        if text:
            self._texts.append(text)
            self._n_characters += len(text)
        if self._n_characters >= _CHUNK:
            self._count_chunk()
            if len(self._counting) > self._n_threads:
                self._take()

    def _finish(self) -> None:
        if self._texts:
            self._count_chunk()
        while self._counting:
            self._take()
        self._split()
        self._write()

    def _count_chunk(self) -> None:
        self._counting.append(self._threads.submit(_pieces, self._texts, self._cuts_at_spaces))
        self._texts, self._n_characters = [], 0

    def _take(self) -> None:
        """Take the oldest chunk's pieces; of too many, make fewer by adding up or by splitting them into words."""
        pieces = self._counting.popleft().result()
        self._joinable.append(pieces.joinable)
        self._alone.append(pieces.alone)
        if sum(table.nbytes for table in self._joinable + self._alone) > _MOST_BYTES:
            self._joinable, self._alone = [_added_up(self._joinable)], [_added_up(self._alone)]
            if sum(table.nbytes for table in self._joinable + self._alone) > _MOST_BYTES // 2:
                self._split()

    def _split(self) -> None:
        if not self._joinable:
            return
        alone = _added_up(self._alone)
        for piece, n in zip(alone["piece"], alone["n"], strict=True):
            self._count(piece.as_py().decode("utf-8"), n.as_py())
        for joined, n in _joined(_added_up(self._joinable)):
            self._count(joined, n)
        self._joinable, self._alone = [], []

    def _count(self, text: str, n: int) -> None:
        words = self._ascii_words(text) if text.isascii() else [w for w, _ in self._splitter.pre_tokenize_str(text)]
        for word, times in Counter(words).items():
            self._words[word] += n * times
        if len(self._words) > _MOST_WORDS:
            self._write()

    def _write(self) -> None:
        for word, n in self._words.items():
            spelled = word.encode("utf-8").decode("latin-1")
            if len(spelled) > 1:  # one byte is no pair
                self._file.write((spelled.translate(self._letters) + " ") * n + "\n")
        self._words.clear()


def ascii_regex(pattern: str) -> str:
    """A pattern's `regex` for `re` on ASCII text: classes spelled out, possessive marks left out.

    Python 3.10 has no possessive quantifiers. Where the patterns have one, what follows it never matches what it could
    give back, so it finds the same without.
    """

    def spelled_out(match: re.Match[str]) -> str:
        ranges = re.sub(r"\\p\{(\w+)\}", lambda name: _ASCII_CLASSES[name[1]], match[0])
        return ranges if match[0].startswith("[") else f"[{ranges}]"

    return re.sub(r"([+*?])\+", r"\1", re.sub(r"\[[^]]*\]|\\p\{\w+\}", spelled_out, pattern))


def cuts(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Where UTF-8 text may be cut: the places of the spaces that follow a non-space. Of its first byte nothing is said."""
    spaces = np.flatnonzero(data == ord(" "))
    spaces = spaces[~_SPACES[data[spaces - 1]]]
    wide = np.flatnonzero(data[spaces - 1] >= 0x80)
    last, middle, first = (data[spaces[wide] - back].astype(np.int64) for back in (1, 2, 3))
    two, three = middle << 8 | last, first << 16 | middle << 8 | last
    return np.delete(spaces, wide[np.isin(two, _TWO_BYTE_SPACES) | np.isin(three, _THREE_BYTE_SPACES)])


def _pieces(texts: list[str], cut_at_spaces: bool) -> _Pieces:
    """The texts cut at spaces, counted. Alone stand the first piece of a text and a last one that ends in whitespace."""
    import pyarrow as pa

    encoded = [text.encode("utf-8") for text in texts]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    ends = np.cumsum([0, *map(len, encoded)])
    places = np.sort(np.concatenate([ends, cuts(data)]), kind="stable") if cut_at_spaces else ends
    places = places[np.diff(places, prepend=-1) > 0]
    pieces = pa.Array.from_buffers(pa.large_binary(), len(places) - 1, [None, pa.py_buffer(places), pa.py_buffer(data)])
    first = np.searchsorted(places, ends)
    joinable = np.ones(len(places) - 1, bool)
    joinable[first[:-1]] = False
    joinable[first[1:][[text[-1].isspace() for text in texts]] - 1] = False
    return _Pieces(_counted(pieces.filter(pa.array(joinable))), _counted(pieces.filter(pa.array(~joinable))))


def _counted(pieces: Any) -> Any:
    import pyarrow as pa

    found = pieces.value_counts()
    return pa.table({"piece": found.field(0), "n": found.field(1)})


def _added_up(tables: list[Any]) -> Any:
    """One table of several, each piece once, in the order of their first appearance."""
    import pyarrow as pa

    together = pa.concat_tables(tables)
    found = together["piece"].combine_chunks().dictionary_encode()
    n = np.bincount(found.indices, weights=together["n"], minlength=len(found.dictionary)).astype(np.int64)
    return pa.table({"piece": found.dictionary, "n": n})


def _joined(table: Any) -> Iterator[tuple[str, int]]:
    """Pieces that occurred equally often put together again, ASCII apart, in texts of about `_CALL` bytes."""
    import pyarrow as pa

    pieces, counts = table["piece"].combine_chunks(), table["n"].to_numpy()
    if not len(pieces):
        return
    places, data = _places_and_bytes(pieces)
    is_ascii = np.maximum.reduceat(data, places[:-1]) < 0x80
    order = np.lexsort((counts, is_ascii))
    places, data = _places_and_bytes(pieces.take(pa.array(order)))
    counts, is_ascii = counts[order], is_ascii[order]
    kinds = np.flatnonzero((np.diff(counts) != 0) | (np.diff(is_ascii) != 0)) + 1
    for start, end in zip([0, *kinds], [*kinds, len(counts)], strict=True):
        while start < end:
            stop = min(end, int(np.searchsorted(places, places[start] + _CALL)))
            yield data[places[start] : places[stop]].tobytes().decode("utf-8"), int(counts[start])
            start = stop


def _places_and_bytes(pieces: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Where the pieces of a pyarrow array begin, the last one's end, and the bytes they are in, one after the other."""
    _, places, data = pieces.buffers()
    return np.frombuffer(places, np.int64)[pieces.offset :][: len(pieces) + 1], np.frombuffer(data, np.uint8)
