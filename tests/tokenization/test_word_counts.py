"""Words counted fast are the words the reference splits, each as often."""

from __future__ import annotations

import io
import itertools
import random
import re
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from groundup.tokenization import word_counts
from groundup.tokenization.patterns import PATTERNS
from groundup.tokenization.word_counts import WordCounts, ascii_regex, cuts

pytest.importorskip("pyarrow")

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


def written(pattern, texts, n_threads=1) -> str:
    file = io.StringIO()
    with WordCounts(pattern, file, n_threads) as counts:
        for text in texts:
            counts.add(text)
    return file.getvalue()


def counted(pattern, texts) -> Counter:
    return Counter(written(pattern, texts).split())


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


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_ascii_classes_and_quantifiers_are_spelled_so_that_re_knows_them(pattern):
    spelled = ascii_regex(pattern.regex)
    assert r"\p" not in spelled and not re.search(r"[+*?]\+", spelled)
    re.compile(spelled, re.ASCII)


@pytest.mark.parametrize("most", [1, 300, 20_000])
def test_what_moves_on_is_counted_all_the_same(most, monkeypatch, english):
    for limit in ("_CHUNK", "_MOST_BYTES", "_MOST_WORDS", "_CALL"):
        monkeypatch.setattr(word_counts, limit, most)
    texts = [text[start : start + 500] for text in english[:2] for start in range(0, 5000, 500)]
    assert counted(PATTERNS["qwen2"], texts) == expected(PATTERNS["qwen2"], texts)


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_any_number_of_threads_writes_the_same_bytes(pattern, monkeypatch, english):
    monkeypatch.setattr(word_counts, "_CHUNK", 300)
    monkeypatch.setattr(word_counts, "_MOST_BYTES", 20_000)
    chance = random.Random(0)
    hostile = ["".join(chance.choices("ab \n\t\u3000\x00é日'1.", k=chance.randrange(200))) for _ in range(50)]
    noise = [chance.randbytes(200).decode("utf-8", errors="ignore") for _ in range(20)]
    texts = [*hostile, "a" * 5000, " " * 500, *(text[:2000] for text in english), *noise]
    found = [written(pattern, texts, n_threads) for n_threads in (1, 2, 5)]
    assert found[0] == found[1] == found[2]
    assert Counter(found[0].split()) == expected(pattern, texts)


def test_a_text_that_breaks_off_ends_the_threads_and_is_told():
    class BrokenOff(Exception):
        pass

    def texts():
        yield "some words"
        raise BrokenOff

    file = io.StringIO()
    counts = WordCounts(PATTERNS["gpt2"], file, 2)

    def add_all():
        with counts:
            for text in texts():
                counts.add(text)

    with pytest.raises(BrokenOff):
        add_all()
    assert file.getvalue() == ""
    with pytest.raises(RuntimeError, match="shutdown"):
        counts._count_chunk()


def test_cuts_are_before_spaces_that_follow_a_non_space():
    def places(text: str) -> list[int]:
        return cuts(np.frombuffer(text.encode(), np.uint8)).tolist()

    assert places("one two  three\n four \tfive ") == [3, 7, 20, 26]
    assert places("") == []
    whitespace = [chr(code) for code in range(sys.maxunicode) if chr(code).isspace() and code != 32]
    others = [chr(code) for code in range(0xD800) if not chr(code).isspace()] + ["\U0001f600", "\U000323b0"]
    assert places("".join(f"xxx{space} y" for space in whitespace)) == []
    assert len(places("".join(f"xxx{other} y" for other in others))) == len(others)
