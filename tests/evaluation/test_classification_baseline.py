"""The classifier of words learns words, and says what it lacks."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from groundup.core.errors import MissingExtraError
from groundup.evaluation.classification import score, table_of
from groundup.evaluation.classification_baseline import majority, tfidf_regression


def texts_and_labels(seed: int, n: int = 60) -> tuple[list[str], np.ndarray]:
    generator = np.random.default_rng(seed)
    words = {
        0: ("win", "cash", "prize", "free"),
        1: ("home", "lunch", "see", "later"),
        2: ("rain", "snow", "sun", "wind"),
    }
    labels = generator.integers(0, 3, n)
    texts = [" ".join(generator.choice(words[label], 3)) + " the a of" for label in labels.tolist()]
    return texts, labels


def test_it_learns_which_words_tell_classes_apart():
    sides = [texts_and_labels(seed) for seed in (1, 2, 3)]
    tables = [table_of(labels, 3) for _, labels in sides]
    read = [lambda texts=texts: iter(texts) for texts, _ in sides]
    found, about = tfidf_regression(read[0], tables[0], read[1], tables[1], read[2], multi_label=False)
    assert score(found, tables[2]).accuracy == 1.0 and "C = 1" in about
    several, _ = tfidf_regression(read[0], tables[0], read[1], tables[1], read[2], multi_label=True)
    assert score(several, tables[2]).macro_f1 > 0.95


def test_a_label_that_no_training_text_has_is_never_given():
    sides = [texts_and_labels(seed) for seed in (1, 2, 3)]
    tables = [np.pad(table_of(labels, 3), ((0, 0), (0, 1))) for _, labels in sides]
    read = [lambda texts=texts: iter(texts) for texts, _ in sides]
    found, _ = tfidf_regression(read[0], tables[0], read[1], tables[1], read[2], multi_label=True)
    assert found.shape == (60, 4) and not found[:, 3].any()


def test_the_majority():
    truth = table_of(np.array([1, 1, 0]), 3)
    assert majority(truth, 2, multi_label=False).tolist() == [[False, True, False]] * 2
    several = np.array([[True, False], [True, True], [False, False]])
    assert majority(several, 1, multi_label=True).tolist() == [[True, False]]


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    truth = table_of(np.array([0, 1]), 2)
    with pytest.raises(MissingExtraError, match=r"groundup\[classify\]"):
        tfidf_regression(lambda: ["a", "b"], truth, lambda: ["a"], truth[:1], lambda: ["a"], multi_label=False)
