"""Gopher's repetition against a slow and plain count."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from groundup.data.cleaning.figures import Measured
from groundup.data.cleaning.repetition import repetition


def plainly(words: list[str]) -> dict[str, float]:
    """The same shares, run by run."""
    total, shares = sum(map(len, words)), {}
    for n in range(2, 5):
        counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        most = max(counts.values())
        longest = max(sum(map(len, run)) for run, count in counts.items() if count == most)
        shares[f"top_{n}_gram"] = (most * longest if most > 1 else 0) / total
    for n in range(5, 11):
        seen, inside = set(), [False] * len(words)
        for i in range(len(words) - n + 1):
            run = tuple(words[i : i + n])
            if run in seen:
                inside[i : i + n] = [True] * n
            seen.add(run)
        shares[f"duplicate_{n}_grams"] = sum(len(w) for w, is_in in zip(words, inside, strict=True) if is_in) / total
    return shares


@pytest.mark.parametrize("seed", range(8))
def test_as_a_plain_count_says(seed):
    chance = random.Random(seed)
    vocabulary = ["a", "to", "word", "another", "sentence"][: 2 + seed % 4]
    words = [chance.choice(vocabulary) for _ in range(50 + 60 * seed)]
    words += words[3 : 3 + 7 * seed]
    found = repetition(Measured(" ".join(words)))
    for name, share in plainly(words).items():
        assert found[name] == pytest.approx(share), name


def test_without_repetition_all_shares_are_zero():
    found = repetition(Measured(" ".join(f"word{i}" for i in range(200))))
    assert set(found.values()) == {0.0} and len(found) == 13


def test_lines_and_paragraphs():
    found = repetition(Measured("same\nsame\nother one\n\nsame\n\nlast\n\nlast"))
    assert found["duplicate_lines"] == pytest.approx(3 / 6)
    assert found["duplicate_line_characters"] == pytest.approx(12 / 29)
    assert found["duplicate_paragraphs"] == pytest.approx(1 / 4)
    assert found["duplicate_paragraph_characters"] == pytest.approx(4 / 31)


def test_short_texts_and_scripts_without_blanks_have_no_figures_on_words():
    assert "top_2_gram" not in repetition(Measured("spam " * 49))
    assert "top_2_gram" in repetition(Measured("spam " * 50))
    assert "top_2_gram" not in repetition(Measured("猫である。 " * 60))


def test_a_long_text_costs_seconds_not_minutes():
    words = [str(i % 5000) for i in range(400_000)]
    assert repetition(Measured(" ".join(words)))["duplicate_10_grams"] > 0.9
