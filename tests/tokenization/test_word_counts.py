"""Words counted fast are the words the reference splits, each as often."""

from __future__ import annotations

import io
import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from groundup.tokenization import word_counts
from groundup.tokenization.patterns import PATTERNS
from groundup.tokenization.word_counts import WordCounts, cut_at_spaces

byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
splitters = {name: pre_tokenizers.Split(Regex(pattern.regex), "isolated") for name, pattern in PATTERNS.items()}

pieces = st.sampled_from(
    [
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\x00",
        "\x1c",
        "\u3000",
        "a",
        "don't",
        "I'LL",
        "x=1234;",
        "é",
        "日本",
        "/",
        "ʕ",
        "\U000323b0",
    ]
)
odd_text = st.lists(st.one_of(pieces, pieces, st.text(st.characters(exclude_categories=["Cs"])))).map("".join)


def counted(pattern, texts) -> Counter:
    file = io.StringIO()
    counts = WordCounts(pattern, file)
    for text in texts:
        counts.add(text)
    counts.finish()
    return Counter(file.getvalue().split())


def expected(pattern, texts) -> Counter:
    """By the reference, all but single bytes, of which no pair is made."""
    words = [word for text in texts for word, _ in splitters[pattern.name].pre_tokenize_str(text)]
    spelled = ["".join(part for part, _ in byte_level.pre_tokenize_str(word)) for word in words]
    return Counter(word for word in spelled if len(word) > 1)


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_words_of_odd_texts_are_those_of_the_reference(pattern):
    @settings(max_examples=200, deadline=None)
    @given(texts=st.lists(odd_text, max_size=5))
    def check(texts):
        assert counted(pattern, texts) == expected(pattern, texts)

    check()


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_ascii_is_split_alike_by_both_libraries(pattern):
    """All pairs of ASCII characters in every kind of company, and all short texts of the corners."""
    ascii_ = [chr(code) for code in range(128)]
    texts = [f"a{x}{y}b {x}{y} 1{x}{y}2 .{x}{y}, '{x}{y}" for x, y in itertools.product(ascii_, repeat=2)]
    texts += ["".join(text) for text in itertools.product(" \n\ta7.'/sLl", repeat=4)]
    assert counted(pattern, texts) == expected(pattern, texts)


@pytest.mark.parametrize("most", [1, 3, 50])
def test_what_moves_on_is_counted_all_the_same(most, monkeypatch, english):
    monkeypatch.setattr(word_counts, "_MOST", most)
    texts = english[:2]
    assert counted(PATTERNS["qwen2"], texts) == expected(PATTERNS["qwen2"], texts)


def test_cuts_are_before_spaces_that_follow_a_non_space():
    assert cut_at_spaces("one two  three\n four \tfive ") == ["one", "two", "\x00three\n\x00four", "\tfive", ""]
    assert cut_at_spaces("     x") == ["", "\x00\x00\x00\x00x"]
    assert cut_at_spaces("") == [""]
