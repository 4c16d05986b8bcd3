"""Exact duplicates: the first is named, folding is a choice, memory is what is said."""

from __future__ import annotations

import time

import pytest

from groundup.data.duplicates.exact import ExactDuplicates


def numbers(texts: list[str], **choices) -> list[int | None]:
    duplicates = ExactDuplicates(**choices)
    return [duplicates.first_of(text) for text in texts]


TEXTS = ["a b", "", "A B", "a  b\n", "a b", "", "a\u00a0b", "ab", "Straße", "STRASSE"]


def test_as_they_stand():
    assert numbers(TEXTS) == [None, None, None, None, 0, 1, None, None, None, None]


def test_folded():
    assert numbers(TEXTS, fold=True) == [None, None, 0, 0, 0, 1, 0, None, None, 8]


def test_half_a_surrogate_pair_is_hashed_too():
    assert numbers(["\ud83d", "\ud83e", "\ud83d"]) == [None, None, 0]


@pytest.mark.parametrize("n_distinct", [1, 50_000])
def test_memory_and_time_follow_the_number_of_different_texts(n_distinct: int):
    duplicates = ExactDuplicates()
    began = time.process_time()
    found = [duplicates.first_of(str(number % n_distinct)) for number in range(100_000)]
    assert time.process_time() - began < 5
    assert found == [None if number < n_distinct else number % n_distinct for number in range(100_000)]
    assert duplicates.n_bytes <= max(12 * 1024, 21 * n_distinct)
