"""Cuts that `may_cut` permits must not change how the library splits the text, whatever stands around them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from groundup.tokenization.patterns import PATTERNS, find_pattern, slices

# Every kind of character the patterns tell apart, and look-alikes: separators that str.isspace counts and \s does not,
# the long s that folds to s, a combining accent, letters and digits of other scripts.
CORNERS = (
    "/AB \t\n\r\v\f\x1c\x1f\x85\u00a0\u2003\u2028\u3000'sSſtTrRvVeEmMlLdDaz09é中、。٣Ⅷ.,!-_<|>\u0301\u200b\x00👍🏽"
)

corner_text = st.lists(st.one_of(st.sampled_from(CORNERS), st.characters(exclude_categories=["Cs"]))).map("".join)


WITH_WORDS = [pattern for pattern in PATTERNS.values() if pattern.name != "none"]

splitters = {name: pre_tokenizers.Split(Regex(pattern.regex), "isolated") for name, pattern in PATTERNS.items()}


def words(pattern, text):
    return [word for word, _ in splitters[pattern.name].pre_tokenize_str(text)]


def assert_cuts_are_exact(pattern, text):
    whole = words(pattern, text)
    for i in range(1, len(text)):
        if pattern.may_cut(text[i - 1], text[i]):
            assert words(pattern, text[:i]) + words(pattern, text[i:]) == whole, (text, i)


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_every_permitted_cut_of_every_short_text_is_exact(pattern):
    for text in itertools.product(" \t\na7./", repeat=5):
        assert_cuts_are_exact(pattern, "".join(text))


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@settings(max_examples=300, deadline=None)
@given(text=corner_text)
def test_every_permitted_cut_of_odd_text_is_exact(pattern, text):
    assert_cuts_are_exact(pattern, text)


@pytest.mark.parametrize("pattern", WITH_WORDS, ids=lambda pattern: pattern.name)
def test_a_cut_is_permitted_before_every_word_of_a_line(pattern):
    text = "A line, of plain words.\nAnd another one; here"
    permitted = [i for i in range(1, len(text)) if pattern.may_cut(text[i - 1], text[i])]
    assert {i for i, character in enumerate(text) if character == " "} <= set(permitted)
    line_break = text.index("\n")
    assert {line_break, line_break + 1} & set(permitted)


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@settings(max_examples=200, deadline=None)
@given(text=corner_text, length=st.integers(1, 12))
def test_slices_join_to_the_text_and_to_its_words(pattern, text, length):
    parts = list(slices(text, length, pattern.may_cut))
    assert "".join(parts) == text
    assert all(len(part) >= length for part in parts[:-1])
    assert all(len(part) <= 2 * length for part in slices(text, length, pattern.may_cut, longest=2 * length))
    assert "".join(slices(text, length, pattern.may_cut, longest=2 * length)) == text
    assert [word for part in parts for word in words(pattern, part)] == words(pattern, text)


def test_slices_are_as_short_as_the_text_permits():
    may_cut = PATTERNS["qwen2"].may_cut
    assert list(slices("one two three four", 4, may_cut)) == ["one two", " three", " four"]
    assert list(slices("x" * 50, 4, may_cut)) == ["x" * 50]
    assert list(slices("", 4, may_cut)) == []


def test_find_pattern_knows_both_spellings_and_refuses_near_misses():
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    assert find_pattern(byte_level) is PATTERNS["gpt2"]
    assert find_pattern({"type": "ByteLevel", "add_prefix_space": False}) is PATTERNS["gpt2"]  # as older files have it
    assert find_pattern(byte_level | {"add_prefix_space": True}) is None
    for name, pattern in PATTERNS.items():
        split = {"type": "Split", "pattern": {"Regex": pattern.regex}, "behavior": "Isolated", "invert": False}
        spelled = {"type": "Sequence", "pretokenizers": [split, byte_level | {"use_regex": False}]}
        assert find_pattern(spelled) is PATTERNS[name]
        assert find_pattern(spelled | {"pretokenizers": [split, byte_level]}) is None
    assert find_pattern(None) is None


@pytest.mark.parametrize(
    ("name", "text", "words_"),
    [
        ("gpt2", "I'LL see 12345 don't", ["I", "'", "LL", " see", " 12345", " don", "'t"]),
        ("gpt4", "I'LL see 12345 don't", ["I", "'LL", " see", " ", "123", "45", " don", "'t"]),
        ("llama3", "I'LL see 12345 don't", ["I", "'LL", " see", " ", "123", "45", " don", "'t"]),
        ("qwen2", "I'LL see 123", ["I", "'LL", " see", " ", "1", "2", "3"]),
        ("o200k", "I'LL see 12345 camelCase", ["I'LL", " see", " ", "123", "45", " camel", "Case"]),
        ("none", "I'LL see\n 12", ["I'LL see\n 12"]),
        ("gpt4", "end.\n  ", ["end", ".\n", "  "]),
        ("gpt4", "end\n  ", ["end", "\n  "]),  # what ends a text is one word in gpt4 and two in llama3
        ("llama3", "end\n  ", ["end", "\n", "  "]),
        ("o200k", "a.\n/b", ["a", ".\n/", "b"]),
        ("llama3", "a.\n/b", ["a", ".\n", "/b"]),
    ],
)
def test_each_pattern_splits_as_it_says(name, text, words_):
    assert words(PATTERNS[name], text) == words_
