"""The text an algorithm learns from: counted, checked, and in parts that no library chokes on.

Trainers hold many times a text's size while they split it, so they are fed parts of 64 thousand characters, cut where
no word is divided (`patterns.py`). And the time of merging grows with the length of a word times the number of merges: one
line of fifty megabytes without a space is one word, and no trainer would come back from it. So a word of more than
`LONGEST_WORD` characters is learned from in pieces of that length, and only from the first `MOST_IN_LONG_WORDS`
characters of such words; what is left out is said. No language has such words: they are base64, minified code,
broken files. (SentencePiece leaves out sentences of more than 4,192 bytes: trainer_spec, max_sentence_length.)
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from groundup.core.errors import GroundupError
from groundup.core.files import clear_write_errors, readable_bytes
from groundup.core.progress import QUIET, Reporter
from groundup.tokenization.patterns import MayCut, slices
from groundup.tokenization.special import SpecialTokens

LONGEST_WORD = 256
MOST_IN_LONG_WORDS = 1 << 18

_PART = 1 << 16
_BLOCK = LONGEST_WORD // 2
_SEPARATORS = "\x1c\x1d\x1e\x1f"  # whitespace for Python and not for the patterns

# Text to its words, as the algorithm's pre-tokenizer cuts it.
Splitter = Callable[[str], list[str]]


@dataclass(frozen=True)
class Request:
    """What was asked for, as an algorithm needs it; `n_learned` is the vocabulary without the special tokens."""

    n_learned: int
    special: SpecialTokens
    exact: bool = True
    pattern: str = "qwen2"
    byte_fallback: bool = True
    lowercase: bool = False
    min_frequency: int = 1
    reporter: Reporter = field(default=QUIET, repr=False)

    @property
    def vocab_size(self) -> int:
        return self.n_learned + len(self.special.names())


def may_hold_long_word(text: str) -> bool:
    """Whether a run of more than `LONGEST_WORD` characters could be a word: False is certain, True is to be looked into.

    Such a run, all whitespace or none of it, covers at least one whole block of half that length; and to see that a block is
    mixed takes a glance at its beginning, while searching for runs reads every character several times.
    """
    if len(text) <= LONGEST_WORD:
        return False
    for start in range(0, len(text) - _BLOCK + 1, _BLOCK):
        block = text[start : start + _BLOCK]
        if block.isspace() or len(block.split(None, 1)[0]) == _BLOCK:
            return True
    return any(separator in text for separator in _SEPARATORS)


class CountedTexts:
    """Texts as they pass by, counted and checked: a text that is no string or no text is refused in its place."""

    def __init__(self, texts: Iterable[str]) -> None:
        if isinstance(texts, str):
            raise GroundupError("texts is one string; give a list of texts, as in train_tokenizer([text])")
        self._texts = texts
        self.n_bytes = 0
        self.n_left_out = 0  # characters that were not learned from
        self._n_in_long_words = 0

    def __iter__(self) -> Iterator[str]:
        for i, text in enumerate(self._texts):
            if not isinstance(text, str):
                raise GroundupError(f"text {i} is of type {type(text).__name__}; a tokenizer learns from strings")
            try:
                self.n_bytes += len(text.encode("utf-8"))
            except UnicodeEncodeError as error:
                raise GroundupError(f"text {i}: character {error.start} is half a surrogate pair, not text") from None
            yield text

    def parts(self, may_cut: MayCut, split: Splitter) -> Iterator[str]:
        """The texts in parts for a trainer, words that are too long in pieces (see the module's docstring)."""
        for text in self:
            for part in slices(text, _PART, may_cut, longest=2 * _PART):
                if may_hold_long_word(part):
                    yield from self._without_long_words(part, split)
                else:
                    yield part

    def _without_long_words(self, part: str, split: Splitter) -> Iterator[str]:
        ordinary: list[str] = []
        for word in split(part):
            if len(word) <= LONGEST_WORD:
                ordinary.append(word)
                continue
            if ordinary:
                yield "".join(ordinary)
                ordinary = []
            room = max(0, MOST_IN_LONG_WORDS - self._n_in_long_words)
            self._n_in_long_words += min(room, len(word))
            self.n_left_out += max(0, len(word) - room)
            for start in range(0, min(room, len(word)), LONGEST_WORD):
                yield word[start : start + min(LONGEST_WORD, room - start)]
        if ordinary:
            yield "".join(ordinary)

    def check_not_empty(self) -> None:
        """Raises `GroundupError` when no text passed by."""
        if self.n_bytes == 0:
            raise GroundupError("there is no text to learn a tokenizer from; give at least one text that is not empty")

    def too_small(self, request: Request, n_made: int) -> GroundupError:
        """The error for a text that cannot fill the vocabulary: how much it could, and why that may be."""
        left_out = (
            f" ({self.n_left_out:,} characters stand in words of more than {LONGEST_WORD} characters: is it text, with spaces?)"
            if self.n_left_out
            else ""
        )
        return GroundupError(
            f"vocab_size {request.vocab_size} is too large for this text: only {n_made} tokens "
            f"could be made from {readable_bytes(self.n_bytes)}{left_out}; ask for that many or fewer, or give more text"
        )


class Spool:
    """Parts kept in a temporary file, so that their characters can be counted before a trainer reads them.

    Only the counts stay in memory. `without_rare(n)` gives the parts again, cut where a character stands that is not
    among the `n` most frequent ones.
    """

    _END = b"\xff"  # a byte that no UTF-8 text has

    def __init__(self, parts: Iterable[str]) -> None:
        self.characters: Counter[str] = Counter()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        with clear_write_errors(Path(tempfile.gettempdir())):
            for part in parts:
                self.characters.update(part)
                self._file.write(part.encode("utf-8") + self._END)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *problem: object) -> None:
        self._file.close()

    def most_frequent(self, n: int) -> list[str]:
        """The `n` most frequent characters (of equals, the lower code point), sorted."""
        return sorted(sorted(sorted(self.characters), key=self.characters.__getitem__, reverse=True)[:n])

    def without_rare(self, kept: Iterable[str]) -> Iterator[str]:
        """The parts, cut at every character that is not `kept`."""
        rare = sorted(set(self.characters) - set(kept))
        cut = rare[0] if rare else ""
        table = dict.fromkeys(map(ord, rare), cut)
        for part in self:
            yield from (piece for piece in part.translate(table).split(cut) if piece) if rare else (part,)

    def __iter__(self) -> Iterator[str]:
        self._file.seek(0)
        rest = b""
        while block := self._file.read(1 << 20):
            *whole, rest = (rest + block).split(self._END)
            for part in whole:
                yield part.decode("utf-8")
