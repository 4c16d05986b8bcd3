"""Scores as scikit-learn gives them, calibration worked by hand, temperatures that undo what was done to logits."""

from __future__ import annotations

import numpy as np
import pytest

from groundup.core.errors import GroundupError
from groundup.evaluation.classification import (
    calibration,
    confusion,
    decisions,
    difference,
    fit_temperature,
    intervals,
    mean_loss,
    probabilities,
    score,
    table_of,
)

metrics = pytest.importorskip("sklearn.metrics")


def drawn(n: int, n_labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    true = generator.integers(0, n_labels - 1, n)  # the last label never occurs
    guess = np.where(generator.random(n) < 0.6, true, generator.integers(0, n_labels, n))
    return guess, true


@pytest.mark.parametrize(("n", "n_labels"), [(1, 2), (50, 2), (200, 6), (300, 50)])
def test_scores_are_those_of_scikit_learn(n: int, n_labels: int):
    guess, true = drawn(n, n_labels, seed=n)
    found = score(table_of(guess, n_labels), table_of(true, n_labels))
    labels = range(n_labels)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(true, guess, labels=labels, zero_division=0)
    np.testing.assert_allclose(found.precision, precision)
    np.testing.assert_allclose(found.recall, recall)
    np.testing.assert_allclose(found.f1, f1)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(true, guess))
    macro = metrics.f1_score(true, guess, labels=labels, average="macro", zero_division=0)
    assert found.macro_f1 == pytest.approx(macro)
    wanted = metrics.confusion_matrix(true, guess, labels=labels)
    assert np.array_equal(confusion(table_of(guess, n_labels), table_of(true, n_labels)), wanted)


def test_several_labels_are_scored_as_scikit_learn_does():
    generator = np.random.default_rng(1)
    true, guess = generator.random((80, 5)) < 0.3, generator.random((80, 5)) < 0.3
    found = score(guess, true)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(true, guess))
    np.testing.assert_allclose(found.f1, metrics.f1_score(true, guess, average=None, zero_division=0))


def test_losses_are_those_of_scikit_learn():
    generator = np.random.default_rng(2)
    logits, true = generator.normal(size=(40, 4)), generator.integers(0, 4, 40)
    chances = probabilities(logits, 1.7)
    wanted = metrics.log_loss(true, chances, labels=range(4))
    assert mean_loss(logits, table_of(true, 4), 1.7) == pytest.approx(wanted)
    yes = generator.random((40, 4)) < 0.5
    several = probabilities(logits, multi_label=True)
    by_label = [metrics.log_loss(yes[:, i], several[:, i], labels=[0, 1]) for i in range(4)]
    assert mean_loss(logits, yes, multi_label=True) == pytest.approx(np.mean(by_label))


def test_calibration_worked_by_hand():
    # Two texts at 0.9 of which one is right, two at 0.6 of which both are: gaps 0.4 and 0.4, half of the texts each.
    chances = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    found = calibration(chances, table_of(np.array([0, 1, 1, 1]), 2))
    assert found.error == pytest.approx(0.4)
    assert found.confidence == pytest.approx((0.6, 0.9)) and found.accuracy == pytest.approx((1.0, 0.5))
    assert found.counts == (2, 2)
    yes_and_no = calibration(np.array([[0.8, 0.2]]), np.array([[True, False]]), multi_label=True)
    assert yes_and_no.error == pytest.approx(0.2) and yes_and_no.counts == (2,)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("multi_label", [False, True])
def test_the_temperature_undoes_what_was_done_to_the_logits(temperature: float, multi_label: bool):
    generator = np.random.default_rng(3)
    logits = generator.normal(size=(20_000, 3)) * 2
    chances = probabilities(logits, multi_label=multi_label)
    if multi_label:
        truth = generator.random(chances.shape) < chances
    else:
        truth = table_of((chances.cumsum(axis=1) < generator.random((len(chances), 1))).sum(axis=1), 3)
    found = fit_temperature(logits * temperature, truth, multi_label=multi_label)
    assert found == pytest.approx(temperature, rel=0.05)
    same = decisions(probabilities(logits, 1.0)), decisions(probabilities(logits, found))
    assert np.array_equal(*same)


def test_intervals_hold_the_score_and_shrink_with_the_texts():
    widths = []
    for n in (100, 10_000):
        guess, true = drawn(n, 4, seed=5)
        tables = table_of(guess, 4), table_of(true, 4)
        low, high = intervals(*tables)["macro_f1"]
        assert low < score(*tables).macro_f1 < high
        assert intervals(*tables) == intervals(*tables)
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(10, rel=0.4)  # as the root of the number


def test_a_difference_is_told_from_chance():
    guess, true = drawn(500, 3, seed=6)
    worse = np.where(np.random.default_rng(7).random(500) < 0.5, guess, (true + 1) % 3)
    tables = [table_of(each, 3) for each in (guess, worse, true)]
    gain, (low, high) = difference(*tables)
    assert 0 < low < gain < high
    assert difference(tables[0], tables[0], tables[2]) == (0.0, (0.0, 0.0))


def test_nothing_to_score():
    with pytest.raises(GroundupError, match="no text"):
        score(np.zeros((0, 2), bool), np.zeros((0, 2), bool))
