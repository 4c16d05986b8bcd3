r"""How text is split into words before byte pairs are merged: named patterns, and where they let text be cut.

A merge never crosses the border of a word, so two halves of a text have together the ids of the whole when the pattern
splits the halves as it splits the whole. Both patterns look at most one character past a match (the `(?!\S)` after a
run of whitespace), so two neighbouring characters are enough to tell that a place is safe; `Pattern.may_cut` holds
that rule, with the reasoning beside it.

Sources: "gpt2" is the pattern of GPT-2's released encoder (openai/gpt-2, encoder.py; Radford et al. 2019, section 2.2);
"qwen2" is the pattern in the `tokenizer.json` of Qwen2, Qwen2.5 and Qwen3 (a variant of OpenAI's cl100k_base that takes
digits one at a time), which llama.cpp knows by the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

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


def _qwen2_may_cut(before: str, after: str) -> bool:
    if after in " \t":  # as for gpt2
        return not before.isspace()
    if before in "\r\n":
        # Nothing matches a line break followed by a non-space, and whitespace that ends in a line break is taken whole
        # by `\s*[\r\n]+` (what punctuation before it has not taken), whether or not the text goes on.
        return not after.isspace()
    # Punctuation takes the line breaks that follow it; letters and digits do not. ASCII is letters in every version
    # of Unicode, so no library can disagree.
    return after in "\r\n" and before.isascii() and before.isalnum()


_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"


def _lines_may_cut(before: str, after: str) -> bool:
    return _qwen2_may_cut(before, after) and after != "/"  # which o200k takes after a line break


PATTERNS = {
    "gpt4": Pattern(
        "gpt4",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s+",
        _lines_may_cut,
    ),
    "o200k": Pattern(
        "o200k",
        rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+{_CONTRACTIONS}?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*{_CONTRACTIONS}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        _lines_may_cut,
    ),
    "gpt2": Pattern(
        "gpt2",
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        _gpt2_may_cut,
    ),
    "qwen2": Pattern(
        "qwen2",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+",
        _qwen2_may_cut,
    ),
}


def find_pattern(pre_tokenizer: Any) -> Pattern | None:
    """The pattern that a `tokenizer.json`'s `pre_tokenizer` is, or None when it is none of ours.

    Two spellings mean byte-level BPE: ByteLevel with its built-in regex, which is GPT-2's, or a Split by a regex
    followed by ByteLevel without one.
    """
    match pre_tokenizer:
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}:
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


def slices(text: str, length: int, may_cut: MayCut) -> Iterator[str]:
    """Cut `text` into parts of `length` characters, or as many more as it takes to reach a place that may be cut."""
    start = 0
    while len(text) - start > length:
        end = start + length
        while end < len(text) and not may_cut(text[end - 1], text[end]):
            end += 1
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]
