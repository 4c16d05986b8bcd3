"""Counting predicts as the textbook formula says, and the law behaves where no run has been."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from groundup.pretraining import forecast
from groundup.pretraining.forecast import (
    Anchor,
    Difficulty,
    best_tokens,
    counting_losses,
    forecast_loss,
    measure_difficulty,
)


class Row:
    """A split that is one array."""

    def __init__(self, tokens: np.ndarray) -> None:
        self.tokens, self.n_tokens = tokens, len(tokens)

    def read(self, start: int, length: int) -> np.ndarray:
        return self.tokens[start : start + length]


def markov_text(n: int, vocab_size: int, seed: int) -> np.ndarray:
    """Tokens of which each follows from the one before, mostly."""
    draw = np.random.default_rng(seed)
    tokens = np.zeros(n, np.int64)
    for i in range(1, n):
        tokens[i] = (3 * tokens[i - 1] + 1) % vocab_size if draw.random() < 0.8 else draw.integers(vocab_size)
    return tokens


def plain_kneser_ney(counted: list[int], predicted: list[int], vocab_size: int, order: int) -> float:
    """The same model by dictionaries, one probability at a time (Chen and Goodman 1999, section 2.7)."""
    tables = []
    for k in range(1, order + 1):
        longer = {tuple(counted[i - k : i + 1]) for i in range(k, len(counted))}
        if k < forecast.HIGHEST_ORDER:
            grams = Counter(gram[1:] for gram in longer)
        else:
            grams = Counter(tuple(counted[i - k + 1 : i + 1]) for i in range(k - 1, len(counted)))
        tables.append(grams)
    everything = counted + predicted
    total = 0.0
    for i in range(len(counted), len(everything)):
        p = 1 / vocab_size
        for k, grams in enumerate(tables, start=1):
            context, token = tuple(everything[i - k + 1 : i]), everything[i]
            once, twice = (sum(n == times for n in grams.values()) for times in (1, 2))
            discount = once / (once + 2 * twice) if once else 0.5
            followers = {gram: n for gram, n in grams.items() if gram[:-1] == context}
            if followers:
                n = sum(followers.values())
                p = (max(followers.get((*context, token), 0) - discount, 0) + discount * len(followers) * p) / n
        total -= math.log(p)
    return total / len(predicted)


def test_counting_equals_the_formula_written_out():
    counted, predicted = markov_text(600, 5, seed=1), markov_text(50, 5, seed=2)
    fast = counting_losses(counted, predicted, 5)
    for order in (1, 2, 3, 4):
        plain = plain_kneser_ney(counted.tolist(), predicted.tolist(), 5, order)
        assert fast[order - 1] == pytest.approx(plain, rel=1e-12)


def test_probabilities_of_all_tokens_add_up_to_one():
    counted, context = markov_text(400, 6, seed=3), [2, 4, 1]
    total = 0.0
    for token in range(6):
        losses = counting_losses(counted, np.array([*context, token]), 6)
        before = counting_losses(counted, np.array(context), 6)
        total += math.exp(-(4 * losses[3] - 3 * before[3]))
    assert total == pytest.approx(1.0, abs=1e-9)


def test_counting_finds_the_entropy_of_a_chain():
    vocab_size, certain = 50, 0.8 + 0.2 / 50
    entropy = -certain * math.log(certain) - 49 * (0.2 / 50) * math.log(0.2 / 50)
    losses = counting_losses(markov_text(60_000, vocab_size, 4), markov_text(5_000, vocab_size, 5), vocab_size)
    assert losses[0] == pytest.approx(math.log(vocab_size), abs=0.05)
    assert losses[3] == pytest.approx(entropy, rel=0.1)


def test_an_unseen_text_costs_a_blind_guess_or_more_and_is_finite():
    losses = counting_losses(np.zeros(1000, np.int64), np.arange(1, 9), 10)
    assert all(math.isfinite(loss) and loss >= math.log(10) - 1e-9 for loss in losses)


def test_difficulty_falls_with_more_text_and_carries_on_beyond_it():
    train, validation = Row(markov_text(40_000, 200, 6)), Row(markov_text(4_000, 200, 7))
    found = measure_difficulty([(train, validation, 1.0)], 200)  # type: ignore[arg-type]
    assert [anchor.n_tokens for anchor in found.anchors][-1] == 40_000
    bigrams = [anchor.losses[1] for anchor in found.anchors]
    assert bigrams == sorted(bigrams, reverse=True)
    for order in (1, 2):
        curve = [found.at(n).losses[order] for n in (1_000, 3_000, 9_000, 30_000, 40_000, 90_000, 1e6, 1e9)]
        assert curve == sorted(curve, reverse=True)
        assert curve[-1] > 0.5 * curve[-4]  # and does not run away
    assert found.at(40_000) == found.anchors[-1]


def test_without_validation_text_a_part_of_the_training_text_is_predicted():
    train = Row(markov_text(40_000, 200, 6))
    with_text = measure_difficulty([(train, Row(markov_text(4_000, 200, 7)), 1.0)], 200)  # type: ignore[arg-type]
    without = measure_difficulty([(train, Row(np.zeros(0, np.int64)), 1.0)], 200)  # type: ignore[arg-type]
    assert without.anchors[-1].losses[1] == pytest.approx(with_text.anchors[-1].losses[1], rel=0.05)


def difficulty(n_train_tokens: int) -> Difficulty:
    anchors = tuple(
        Anchor(n, (6.3, 4.9 - 0.1 * k, 4.6 - 0.25 * k, 4.5 - 0.3 * k)) for k, n in enumerate((10**4, 10**5, 10**6))
    )
    return Difficulty(anchors[: 3 if n_train_tokens >= 10**6 else 2], n_train_tokens, 1024)


def test_more_text_and_larger_models_are_foretold_lower_losses():
    text = difficulty(10**6)
    by_tokens = [forecast_loss(text, 10**6, n) for n in (10**4, 10**5, 10**6, 2 * 10**6)]
    assert by_tokens == sorted(by_tokens, reverse=True)
    by_size = [forecast_loss(text, n, 10**6) for n in (3 * 10**5, 10**6, 10**7)]
    assert by_size == sorted(by_size, reverse=True)


@pytest.mark.parametrize("n_tokens", [1, 12, 36, 384])
def test_of_a_few_tokens_hardly_anything_is_expected(n_tokens: int):
    """Far before the first anchor: no logarithm of less than nothing, and no more than blind guessing costs."""
    easy = Difficulty((Anchor(7_000, (4.0, 0.9, 0.02, 0.01)), Anchor(30_000, (4.0, 0.5, 0.3, 0.2))), 30_000, 300)
    hard = Difficulty((Anchor(7_000, (6.0, 5.0, 5.0, 5.0)), Anchor(30_000, (6.0, 3.0, 2.0, 2.0))), 30_000, 1024)
    assert 0 < forecast_loss(easy, 30_000, n_tokens) <= np.log(300)
    assert forecast_loss(hard, 30_000, n_tokens) == pytest.approx(np.log(1024))


def test_small_text_is_worn_out():
    """A large model may not read a small text for ever; on a large text it may use all the time there is."""
    assert best_tokens(difficulty(10**6), 10**6, 5 * 10**5) == pytest.approx(5 * 10**5)
    worn_out = best_tokens(difficulty(10**5), 10**7, 10**8)
    assert 10**5 <= worn_out < 10**7
    assert best_tokens(difficulty(10**5), 4 * 10**5, 10**8) > worn_out
    longer = best_tokens(difficulty(10**5), 10**7, 10**10)  # however much time there is
    assert longer == pytest.approx(worn_out, rel=0.2)


def test_a_text_that_only_repeats_itself_has_a_forecast() -> None:
    """Counting foretells it without a doubt; the logarithm of no loss at all ended the plan with `math domain error`."""
    losses = counting_losses(np.tile(np.arange(8), 2_000), np.tile(np.arange(8), 100), 8)
    assert losses[-1] == pytest.approx(forecast.LOWEST_LOSS)
    anchors = (Anchor(8_000, (2.08, 1e-3, 1e-3, 1e-3)), Anchor(16_000, tuple(losses)))
    assert 0 < forecast_loss(Difficulty(anchors, 16_000, 8), 100_000, 50_000) < 2
