r"""How text is split into words before byte pairs are merged: named patterns, and where they let text be cut.

A merge never crosses the border of a word, so two halves of a text have together the ids of the whole when the pattern
splits the halves as it splits the whole. All patterns look at most one character past a match (the `(?!\S)` after a
run of whitespace), so two neighbouring characters are enough to tell that a place is safe; `Pattern.may_cut` holds
that rule, with the reasoning beside it.

| name | where it is from | what it does |
|---|---|---|
| gpt2 | GPT-2's released encoder (openai/gpt-2, encoder.py; Radford et al. 2019, section 2.2) | letters, digits, rest |
| gpt4 | cl100k_base in `tiktoken` (GPT-3.5, GPT-4) | contractions in any case, digits by three, line breaks apart |
| llama3 | `tokenizer.json` of Llama 3: cl100k_base as first published | as gpt4, but for whitespace that ends a text |
| o200k | o200k_base in `tiktoken` (GPT-4o) | also splits where lower case turns to upper; marks are letters |
| qwen2 | `tokenizer.json` of Qwen2, Qwen2.5 and Qwen3 | as llama3, but each digit alone |
| none | byte pairs as first published (Gage 1994) | nothing: merges cross spaces |

`{1,3}+` of cl100k_base is written `{1,3}`: in the syntax of the library that reads these the `+` would repeat the
whole. Nothing follows in that alternative that could make it give digits back, so both match the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}

# Given the characters on both sides of a place: True promises that a cut there changes no id, False promises nothing.
MayCut = Callable[[str, str], bool]


@dataclass(frozen=True)
class Pattern:
    """A pre-splitting pattern: `regex` as both `tokenizers` and `tiktoken` read it, and where it permits a cut."""

    name: str
    regex: str
    may_cut: MayCut


def _gpt2_may_cut(before: str, after: str) -> bool:
    # No alternative matches a non-space followed by whitespace, so a word ends here. Cutting here hides no lookahead:
    # every run of whitespace in the first half is followed by a non-space that is also in the first half.
    # str.isspace covers all that \s does, and four separators more: it errs on the side of not cutting.
    return after in " \t\n\r" and not before.isspace()


def _lines_may_cut(before: str, after: str) -> bool:
    """The rule of gpt4, llama3, o200k and qwen2, whose punctuation takes the line breaks that follow it."""
    if after in " \t":  # as for gpt2
        return not before.isspace()
    if before in "\r\n":
        # Nothing matches a line break followed by a non-space (but for the `/` that o200k takes after one), and
        # whitespace that ends in a line break is taken whole by `\s*[\r\n]+` or, in gpt4, by `\s*[\r\n]` and at the end
        # of the text by `\s++$` (what punctuation before it has not taken), whether or not the text goes on.
        return not after.isspace() and after != "/"
    # Punctuation takes the line breaks that follow it; letters and digits do not. ASCII is letters in every version
    # of Unicode, so no library can disagree.
    return after in "\r\n" and before.isascii() and before.isalnum()


def words_may_cut(before: str, after: str) -> bool:
    """Where text for a splitter by whitespace and punctuation may be cut: before a space that follows a word."""
    return after in " \t\n\r" and not before.isspace()


def never_cut(before: str, after: str) -> bool:
    """Where nothing is promised."""
    return False


_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"

PATTERNS = {
    pattern.name: pattern
    for pattern in (
        Pattern(
            "gpt2",
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            _gpt2_may_cut,
        ),
        Pattern(
            "gpt4",
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+"
            r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s+",
            _lines_may_cut,
        ),
        Pattern(
            "llama3",
            _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _SPACES,
            _lines_may_cut,
        ),
        Pattern(
            "o200k",
            rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+{_CONTRACTIONS}?"
            rf"|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*{_CONTRACTIONS}?"
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + _SPACES,
            _lines_may_cut,
        ),
        Pattern(
            "qwen2",
            _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _SPACES,
            _lines_may_cut,
        ),
        Pattern("none", r"[\s\S]+", never_cut),
    )
}


def find_pattern(pre_tokenizer: Any) -> Pattern | None:
    """The pattern that a `tokenizer.json`'s `pre_tokenizer` is, or None when it is none of ours.

    Two spellings mean byte-level BPE: ByteLevel with its built-in regex, which is GPT-2's, or a Split by a regex
    followed by ByteLevel without one.
    """
    match pre_tokenizer:
        case {"type": "ByteLevel", "add_prefix_space": False} if pre_tokenizer.get(
            "use_regex", True
        ):  # older files: unsaid
            return PATTERNS["gpt2"]
        case {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        }:
            return next((pattern for pattern in PATTERNS.values() if pattern.regex == regex), None)
    return None


def cut_rule(description: dict[str, Any]) -> MayCut:
    """Where a text may be cut for the tokenizer that a parsed `tokenizer.json` describes; `never_cut` if unknown.

    Composing characters (NFC) and BERT's cleaning never join a space or a line break to its neighbour; of other
    normalisers nothing is promised, nor of words that are looked for in the text before it is split.
    """
    splitter, normalizer = description.get("pre_tokenizer"), description.get("normalizer")
    pattern = find_pattern(splitter) or find_pattern({"type": "Sequence", "pretokenizers": [splitter, _BYTE_LEVEL]})
    if pattern and normalizer in (None, {"type": "NFC"}):
        return pattern.may_cut
    if splitter == {"type": "BertPreTokenizer"} and (normalizer is None or normalizer["type"] == "BertNormalizer"):
        return words_may_cut
    return never_cut


def slices(text: str, length: int, may_cut: MayCut, longest: int | None = None) -> Iterator[str]:
    """Cut `text` into parts of `length` characters, or as many more as it takes to reach a place that may be cut.

    A part never has more than `longest` characters, if given: there it is cut wherever that is.
    """
    start = 0
    while len(text) - start > length:
        end, last = start + length, len(text) if longest is None else min(len(text), start + longest)
        while end < last and not may_cut(text[end - 1], text[end]):
            end += 1
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]
