"""The reference model: probabilities, outliers, gibberish."""

from __future__ import annotations

import random
import string

import numpy as np
import pytest

from groundup.data.cleaning.reference import ORDER, SLOTS, WINDOW, Reference, train_reference

WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "a",
    "is",
    "that",
    "for",
    "it",
    "was",
    "on",
    "are",
    "as",
    "with",
    "his",
    "they",
    "at",
    "be",
    "this",
    "from",
    "have",
    "or",
    "by",
    "one",
    "had",
    "not",
    "but",
]


def sentence(chance: random.Random, n_words: int = 40) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(n_words)) + "."


@pytest.fixture(scope="module")
def reference() -> Reference:
    chance = random.Random(0)
    found = train_reference([sentence(chance, 100) for _ in range(200)])
    assert found is not None
    return found


def noise(n_characters: int, seed: int = 0) -> str:
    chance = random.Random(seed)
    return "".join(chance.choice(string.ascii_letters + string.digits + "#$%&") for _ in range(n_characters))


def test_too_little_text_teaches_nothing():
    assert train_reference([sentence(random.Random(0)) for _ in range(50)]) is None


def test_bits_are_those_of_a_probability(reference):
    context = "the of and t"
    total = sum(2.0 ** -reference.bits(context + c)[-1] for c in map(chr, range(32, 127)) if c == c.lower())
    assert total == pytest.approx(1, abs=0.02)


def test_learned_text_is_readable_and_noise_is_not(reference):
    usual = reference.bits(sentence(random.Random(99), 200))
    strange = reference.bits(noise(1000))
    assert usual.mean() < 1.5 and strange.mean() > 8
    assert abs(reference.score(usual)) < 4
    assert reference.score(strange) > 50


def test_a_text_in_the_sample_does_not_vouch_for_itself():
    chance = random.Random(1)
    chunks = [sentence(chance, 100) for _ in range(200)]
    chunks[10] = noise(600)
    learned = train_reference(chunks)
    assert learned is not None
    assert learned.bits(chunks[10]).mean() > 8


def test_capitals_are_no_gibberish(reference):
    text = sentence(random.Random(5), 200)
    assert np.allclose(reference.bits(text.upper()), reference.bits(text))


def test_gibberish_is_placed(reference):
    chance = random.Random(3)
    before, after = sentence(chance, 60), sentence(chance, 60)
    start, length = reference.gibberish(reference.bits(before + " " + noise(640) + " " + after))
    assert abs(start - len(before)) <= WINDOW
    assert abs(length - 640) <= 2 * WINDOW
    assert reference.gibberish(reference.bits(before + after)) == (0, 0)
    assert reference.gibberish(reference.bits("")) == (0, 0)


def test_saved_and_loaded_it_scores_the_same(reference, tmp_path):
    reference.save(tmp_path)
    loaded, text = Reference.load(tmp_path), sentence(random.Random(8))
    assert (loaded.bits(text) == reference.bits(text)).all()
    assert loaded.score(loaded.bits(text)) == reference.score(reference.bits(text))


def test_its_size_is_fixed(reference):
    assert reference.counts.shape == reference.totals.shape == reference.kinds.shape == (ORDER, SLOTS)
    assert sum(array.nbytes for array in (reference.counts, reference.totals, reference.kinds)) == 3 * 4 * 4 * SLOTS
