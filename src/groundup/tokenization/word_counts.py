r"""Text to the words of a pattern, counted: what byte-pair training reads, several times faster than the reference splits.

A trainer needs only the different words and how often each occurs, and text repeats itself. So it is first cut at spaces,
which is cheap; the pieces are counted; and only the different pieces are split by the pattern. That is exact, because
every pattern permits a cut before a space that follows a non-space (`patterns.py`), and for the same reason
many pieces can be split in one call.

Pieces in ASCII are split by the `regex` library; ASCII is the same in every year's Unicode tables. The
others are split by `tokenizers` itself, whose tables are of another year than `regex`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO

from tokenizers import Regex, pre_tokenizers

from groundup.tokenization.fast import byte_alphabet
from groundup.tokenization.patterns import Pattern

# Different pieces or words held in memory; past that they move on, to be counted again further on.
_MOST = 1_000_000
# Characters split in one call: more make the reference slower.
_CALL = 1 << 15

# All that str.isspace knows but the space.
_OTHER_SPACES = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_HELD = "\x00"  # stands for a space where no cut may be


class WordCounts:
    """Counts the words of `pattern` in the texts given to `add` and writes them to `file` for a byte-pair trainer.

    The file holds each word as often as it occurred, spelled in the byte alphabet of GPT-2 (`fast.byte_alphabet`), which
    has no spaces; between words stands a space or a line break. Memory stays bounded whatever the text.
    """

    def __init__(self, pattern: Pattern, file: IO[str]) -> None:
        import regex

        self._cuts_at_spaces = pattern.may_cut("a", " ")
        self._ascii_words: Callable[[str], list[str]] = regex.compile(pattern.regex).findall
        self._splitter = pre_tokenizers.Split(Regex(pattern.regex), behavior="isolated")
        self._file = file
        self._letters = str.maketrans({chr(byte): letter for letter, byte in byte_alphabet().items()})
        self._pieces: Counter[str] = Counter()  # what stood between two cuts, without the space it begins with
        self._alone: Counter[str] = Counter()  # the first of a text, and a last one that ends in whitespace
        self._words: Counter[str] = Counter()

    def add(self, text: str) -> None:
        """Count the words of one text."""
        if not self._cuts_at_spaces or _HELD in text:
            self._count(text, 1)
        else:
            first, *pieces = cut_at_spaces(text)
            if pieces and (not pieces[-1] or pieces[-1][-1] in _OTHER_SPACES + _HELD):
                self._alone[" " + pieces.pop()] += 1
            self._alone[first] += 1
            self._pieces.update(pieces)
        if len(self._pieces) + len(self._alone) + len(self._words) > _MOST:
            self._split()

    def finish(self) -> None:
        """Write what is still held."""
        self._split()
        self._write()

    def _split(self) -> None:
        for piece, n in self._alone.items():
            self._count(piece.replace(_HELD, " "), n)
        by_count: dict[tuple[int, bool], list[str]] = {}
        for piece, n in self._pieces.items():
            by_count.setdefault((n, piece.isascii()), []).append(piece)
        for (n, _), pieces in by_count.items():
            for joined in _joined(pieces):
                self._count(joined.replace(_HELD, " "), n)
        self._alone.clear()
        self._pieces.clear()
        if len(self._words) > _MOST // 2:
            self._write()

    def _count(self, text: str, n: int) -> None:
        words = self._ascii_words(text) if text.isascii() else [w for w, _ in self._splitter.pre_tokenize_str(text)]
        for word, times in Counter(words).items():
            self._words[word] += n * times

    def _write(self) -> None:
        for word, n in self._words.items():
            spelled = word.encode("utf-8").decode("latin-1")
            if len(spelled) > 1:  # one byte is no pair
                self._file.write((spelled.translate(self._letters) + " ") * n + "\n")
        self._words.clear()


def cut_at_spaces(text: str) -> list[str]:
    """`text` cut before every space that follows a non-space, each part but the first without that space.

    A space that follows whitespace is no cut; it is written as NUL, which `text` must not hold.
    """
    for space in _OTHER_SPACES:
        if space in text:
            text = text.replace(space + " ", space + _HELD)
    if "  " in text or _HELD in text:
        text = text.replace("  ", " " + _HELD).replace(_HELD + " ", _HELD * 2)
    return text.split(" ")


def _joined(pieces: list[str]) -> Iterator[str]:
    """The pieces put together again, each after its space, in texts of about `_CALL` characters."""
    group, size = [], 0
    for piece in pieces:
        group.append(piece)
        size += len(piece) + 1
        if size > _CALL:
            yield " " + " ".join(group)
            group, size = [], 0
    if group:
        yield " " + " ".join(group)
