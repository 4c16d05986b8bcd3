"""Figures of one document: words, lines, signs, and what scripts they are written in.

The one idea: what is a *word* is said once. A word is what stands between blanks, as in Gopher. Japanese, Chinese, Thai,
Lao, Khmer, Burmese and Tibetan put no blanks between words, so where such letters are the larger part of a text, the
figures that count words or the length of lines are not measured, and the rules on them do not apply: no figure,
no verdict.

Lines are what is between line ends and is not blank; paragraphs are what is between empty lines.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

import regex

_UNSPACED = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Balinese}\p{Javanese}]+"
)
# Every block those scripts have letters in: a quick look that spares most texts the exact one.
_PERHAPS_UNSPACED = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u19e0-\u19ff\u1b00-\u1b7f\u2e80-\u9fff\ua980-\uaa7f\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
_SIGNS = re.compile(r"[\W_]+")
_A_LETTER = re.compile(r"[^\W\d_]")
_ASCII_SIGNS = bytes(c for c in range(128) if not chr(c).isalnum())
_BULLET = re.compile(r"[•‣⁃◦●○▪▫◘◙·*–-]\s*\S?")
_STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
_ELLIPSES = ("...", "…")
# Where a line may end as a sentence does, in the scripts of the world (Unicode's Sentence_Terminal, and closing quotes).
_ENDS = regex.compile(r"[\p{Sentence_Terminal}…\"'”’»›」』】〉》)\]]")
_SENTENCE = regex.compile(r"\p{Sentence_Terminal}+[\"'”’»›」』)\]]*(?:\s|$|(?<=[。！？｡]))")


@dataclass(frozen=True)
class Measured:
    """A text with what several rules ask of it, found once."""

    text: str

    @cached_property
    def words(self) -> list[str]:
        return self.text.split()

    @cached_property
    def vocabulary(self) -> Counter[str]:
        """The different words, and how often each stands."""
        return Counter(self.words)

    @cached_property
    def lines(self) -> list[str]:
        return [line for line in map(str.strip, self.text.split("\n")) if line]

    @cached_property
    def paragraphs(self) -> list[str]:
        return [part for part in map(str.strip, re.split(r"\n[^\S\n]*\n", self.text)) if part]

    @cached_property
    def letters(self) -> int:
        """Letters and digits."""
        if self.text.isascii():
            return len(self.text.encode("ascii").translate(None, _ASCII_SIGNS))
        return len(_SIGNS.sub("", self.text))

    @cached_property
    def is_spaced(self) -> bool:
        """Whether the larger part is in scripts that write blanks between words."""
        if self.text.isascii() or not _PERHAPS_UNSPACED.search(self.text):
            return True
        return 2 * sum(map(len, _UNSPACED.findall(self.text))) <= self.letters


def quality(measured: Measured) -> dict[str, float]:
    """The figures of Gopher's quality rules."""
    lines = measured.lines
    figures: dict[str, float] = {}
    if lines:
        figures["bullet_lines"] = sum(bool(_BULLET.match(line)) for line in lines) / len(lines)
        figures["ellipsis_lines"] = sum(line.endswith(_ELLIPSES) for line in lines) / len(lines)
    if not measured.is_spaced:
        return figures
    words, text = measured.words, measured.text
    figures["word_count"] = len(words)
    if words:
        figures["mean_word_length"] = sum(map(len, words)) / len(words)
        figures["hashes_per_word"] = text.count("#") / len(words)
        figures["ellipses_per_word"] = sum(map(text.count, _ELLIPSES)) / len(words)
        vocabulary = measured.vocabulary.items()
        without = sum(count for word, count in vocabulary if not word.isalpha() and not _A_LETTER.search(word))
        figures["words_with_a_letter"] = 1 - without / len(words)
        figures["stop_words"] = len(_STOP_WORDS.intersection(map(str.lower, measured.vocabulary)))
    return figures


def line_shares(measured: Measured) -> dict[str, float]:
    """The figures of FineWeb's own rules."""
    lines = measured.lines
    if not lines:
        return {}
    figures = {
        "lines_with_punctuation": sum(map(ends_a_sentence, lines)) / len(lines),
        "repeated_line_characters": repeated_characters(lines),
    }
    if measured.is_spaced:
        figures["short_lines"] = sum(len(line) < 30 for line in lines) / len(lines)
    return figures


def signs(measured: Measured) -> dict[str, float]:
    """Shares of characters that tell text from what is none: tables of numbers aside, noise and encoded bytes."""
    text = measured.text
    n_visible = sum(map(len, measured.words))
    if not n_visible:
        return {}
    figures = {
        "letters_and_digits": measured.letters / n_visible,
        "broken_characters": text.count("\ufffd") / n_visible,
    }
    if measured.is_spaced:
        figures["longest_word"] = max(map(len, measured.words))
    return figures


def c4_page(measured: Measured, kept_by_c4: str) -> dict[str, float]:
    """The figures of C4's rules on pages; sentences are counted in `kept_by_c4`, the text its line rules leave."""
    return {
        "c4_sentences": len(_SENTENCE.findall(kept_by_c4)),
        "lorem_ipsum": measured.text.lower().count("lorem ipsum"),
        "curly_brackets": measured.text.count("{"),
    }


def ends_a_sentence(line: str) -> bool:
    """Whether a line (without blanks at its end) ends with the end of a sentence, or of a quotation."""
    return _is_end(line[-1:])


@lru_cache(maxsize=4096)
def _is_end(character: str) -> bool:
    return _ENDS.match(character) is not None


def repeated_characters(parts: list[str]) -> float:
    """The share of characters that stand in parts equal to an earlier part."""
    total = sum(map(len, parts))
    return (total - sum(map(len, set(parts)))) / total if total else 0.0


def repeated_parts(parts: list[str]) -> float:
    """The share of parts that are equal to an earlier one."""
    return 1 - len(set(parts)) / len(parts) if parts else 0.0
