"""What counts as a word, in which scripts, and where it stands."""

from __future__ import annotations

import numpy as np
import pytest

from groundup.data.duplicates import words as module
from groundup.data.duplicates.words import hash_words, runs


def words_of(text: str) -> list[str]:
    words = hash_words([text])
    return [text[start:end] for start, end in zip(words.starts, words.ends, strict=True)]


def hashes_of(text: str) -> list[int]:
    return hash_words([text]).hashes.tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("... !? --- \n", []),
        ("Hello, world! 3.14", ["Hello", "world", "3", "14"]),
        ("snake_case well-known", ["snake", "case", "well", "known"]),
        ("吾輩は猫である。Name7まだ", ["吾", "輩", "は", "猫", "で", "あ", "る", "Name7", "ま", "だ"]),
        ("สวัสดี ok", ["ส", "วั", "ส", "ดี", "ok"]),  # a vowel above belongs to its consonant
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("한국어 텍스트", ["한국어", "텍스트"]),
        ("𠀀𠀁", ["𠀀", "𠀁"]),
    ],
)
def test_words(text: str, expected: list[str]):
    assert words_of(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The CAT sat.", "the cat -- sat"),
        ("don't", "don’t"),
        ("don't", "DONT"),
        ("co\u00adoperate", "cooperate"),
        ("ig\u200bno\u200dre", "ignore"),
        ("plain\U000e0041\U000e0042", "plain"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ],
)
def test_equal_but_for_case_punctuation_and_what_cannot_be_seen(one: str, other: str):
    assert hashes_of(one) == hashes_of(other) != []


@pytest.mark.parametrize(("one", "other"), [("ab", "ba"), ("a b", "ab"), ("1", "2"), ("猫", "犬"), ("naïve", "naive")])
def test_different_words_differ(one: str, other: str):
    assert hashes_of(one) != hashes_of(other)


def test_cut_into_blocks_the_words_are_the_same(monkeypatch):
    texts = ["Some words, here. " * 20, "", "日本語" * 40, "short", "x" * 50 + " and more", "", "don't \u200b stop"]
    whole = hash_words(texts)
    for size in (60, 97, 400):
        monkeypatch.setattr(module, "_BLOCK_CHARACTERS", size)
        cut = hash_words(texts)
        for name in ("hashes", "starts", "ends", "alone", "bounds"):
            assert np.array_equal(getattr(cut, name), getattr(whole, name)), (size, name)
    alone = [hash_words([text]).hashes for text in texts]
    assert np.array_equal(np.concatenate(alone), whole.hashes)
    assert np.diff(whole.bounds).tolist() == [len(hashes) for hashes in alone]


def test_a_word_longer_than_a_block_is_cut_and_ends():
    words = hash_words(["a" * (2 * module._BLOCK_CHARACTERS + 5)])
    assert len(words.hashes) == 3
    assert words.ends[-1] == 2 * module._BLOCK_CHARACTERS + 5


def test_half_a_surrogate_pair_is_no_reason_to_fail():
    assert words_of("a \ud83d b") == ["a", "b"]


def test_runs_stay_within_documents_and_short_ones_are_one_run():
    starts, ends, counts = runs(np.array([0, 0, 3, 4, 10]), 4)
    assert counts.tolist() == [0, 1, 1, 3]
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == [(0, 3), (3, 4), (4, 8), (5, 9), (6, 10)]
