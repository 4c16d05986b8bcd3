"""Words, hashed, with the place where each stands.

One idea: a word is what is left when case and punctuation are taken away, as GPT-3's search for overlaps had it (Brown et al.
2020, appendix C). It is a run of letters, digits and marks; in scripts that put no spaces between words (Chinese, Japanese,
Thai and others) every character is a word by itself. Apostrophes and invisible characters (joiners, soft hyphens,
tags) are passed over, so `don't`, `don’t` and `dont` are one word and hidden characters hide nothing.

Case is folded one character at a time (`ß` stays), so places in the text keep their meaning. A combining mark belongs
to its letter, but is not composed with it: texts in different normal forms differ (cleaning makes them one form).
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from groundup.data.duplicates.hashing import Stretches, mix

_BREAK, _LETTER, _MARK, _ALONE, _PASSED_OVER = range(5)

# First words of the Unicode names of characters that are words by themselves: the ideographs and kana, and what UAX 14
# calls complex context (class SA), where finding the words takes a dictionary.
_WITHOUT_SPACES = {
    *("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "YI", "TANGUT", "NUSHU"),
    *("THAI", "LAO", "KHMER", "MYANMAR", "TAI", "AHOM"),
}
_IDEOGRAPHS = 0x20000  # from here to 0x3FFFF lie ideographs alone; above them private use, tags, selectors
_END = 0x110000
_BLOCK_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class Words:
    """The words of several documents, one after the other.

    `hashes` (uint64), `starts` and `ends` (characters of the own document) and `alone` (a character of a script without
    spaces) have an entry for each word; the words of document d are those from bounds[d] to bounds[d + 1].
    """

    hashes: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    alone: np.ndarray
    bounds: np.ndarray


def hash_words(texts: Sequence[str]) -> Words:
    """The words of `texts`. Memory in passing: about 60 MB, and 25 bytes for each word."""
    hashes, starts, ends, alone = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], []
    counts = np.zeros(len(texts), np.int64)
    for first, offsets, block in _blocks(texts):
        hashes_, starts_, ends_, alone_ = _words_of_block(block)
        begins = np.array(offsets)  # where in the block each of its documents begins (negative: in a block before)
        document = np.searchsorted(begins, starts_, side="right") - 1
        counts[first : first + len(begins)] += np.bincount(document, minlength=len(begins))
        hashes.append(hashes_)
        starts.append(starts_ - begins[document])
        ends.append(ends_ - begins[document])
        alone.append(alone_)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    joined = (np.concatenate(parts) for parts in (hashes, starts, ends, [np.zeros(0, bool), *alone]))
    return Words(*joined, bounds=bounds)


def runs(bounds: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts and ends of all runs of `length` words within documents, and how many each document has.

    A document with fewer words than that, but some, has one run: all of it.
    """
    first, n_words = bounds[:-1], np.diff(bounds)
    counts = np.where(n_words == 0, 0, np.maximum(n_words - length + 1, 1))
    before = np.cumsum(counts) - counts
    starts = np.arange(counts.sum()) + np.repeat(first - before, counts)
    ends = np.minimum(starts + length, np.repeat(bounds[1:], counts))
    return starts, ends, counts


def _blocks(texts: Iterable[str]) -> Iterator[tuple[int, list[int], str]]:
    """Many short documents in one block, one long document in many: (first document, where each begins, text)."""
    first, offsets, parts, size = 0, [], [], 0
    for number, text in enumerate(texts):
        begin = 0
        while len(text) - begin > _BLOCK_CHARACTERS:
            if parts:
                yield first, offsets, "\n".join(parts)
            end = _cut(text, begin)
            yield number, [-begin], text[begin:end]
            first, offsets, parts, size = number, [], [], 0
            begin = end
        if parts and size + len(text) - begin > _BLOCK_CHARACTERS:
            yield first, offsets, "\n".join(parts)
            parts = []
        if not parts:
            first, offsets, size = number, [], 0
        offsets.append(size - begin)
        parts.append(text[begin:])
        size += len(parts[-1]) + 1
    if parts:
        yield first, offsets, "\n".join(parts)


def _cut(text: str, begin: int) -> int:
    """Where a block of a long document ends: at white space; a word as long as a block is cut where it stands."""
    end = begin + _BLOCK_CHARACTERS
    for space in "\n ":
        if (found := text.rfind(space, begin, end)) > begin:
            return found
    return end


def _words_of_block(block: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    kinds_of, values_of = _tables()
    codes = np.frombuffer(block.encode("utf-32-le", "surrogatepass"), "<u4")
    kinds = kinds_of[codes]
    shown = np.flatnonzero(kinds != _PASSED_OVER)
    if len(shown) < len(codes):
        codes, kinds = codes[shown], kinds[shown]
    previous = np.concatenate([[np.uint8(_BREAK)], kinds[:-1]])
    begins = kinds == _ALONE
    begins |= (kinds != _BREAK) & (previous == _BREAK)
    begins |= (kinds == _LETTER) & (previous == _ALONE)
    stops = np.concatenate([begins[1:] | (kinds[1:] == _BREAK), [True]])[: len(kinds)] & (kinds != _BREAK)
    starts, lasts = np.flatnonzero(begins), np.flatnonzero(stops)
    hashes = Stretches(values_of[codes]).hashes(starts, lasts + 1)
    return hashes, shown[starts], shown[lasts] + 1, kinds[starts] == _ALONE


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """For every code point: its kind (uint8), and the random 64 bits that stand for it with its case folded."""
    kinds, folded = np.full(_END, _PASSED_OVER, np.uint8), np.arange(_END, dtype=np.uint64)
    kinds[_IDEOGRAPHS : 2 * _IDEOGRAPHS] = _ALONE
    for code in range(_IDEOGRAPHS):
        character = chr(code)
        kinds[code] = _kind(character)
        for form in (character.casefold(), character.lower()):
            if len(form) == 1:
                folded[code] = ord(form)
                break
    return kinds, mix(folded + np.uint64(1))


def _kind(character: str) -> int:
    category = unicodedata.category(character)
    if category == "Cf" or character in "'’ʼ＇" or "\ufe00" <= character <= "\ufe0f":
        return _PASSED_OVER
    if category[0] == "M":
        return _MARK
    if category[0] not in "LN":
        return _BREAK
    return _ALONE if unicodedata.name(character, "").split(" ")[0].split("-")[0] in _WITHOUT_SPACES else _LETTER
