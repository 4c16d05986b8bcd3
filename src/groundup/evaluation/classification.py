"""How good a classifier is, and how sure of it we may be: scores with intervals, calibration, the temperature.

One idea: what was right is a table of booleans [N texts, C labels], one true cell a row where labels exclude each other.
So one set of formulas serves one label and several. An interval is the middle 95 % of the score over texts drawn anew with
repetition (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13); for the difference of two
classifiers the same draws serve both.

Calibration is Guo et al. 2017, "On Calibration of Modern Neural Networks": the expected calibration error over 15 bins of
confidence (section 2), and one temperature, fitted on validation texts, that all logits are divided by (section 4.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from groundup.core.errors import GroundupError

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Interval = tuple[float, float]

N_BINS = 15  # Guo et al. 2017, table 1
N_DRAWS = 1000
_TEXTS_AT_ONCE = 1 << 22  # cells of a table of draws
_TEMPERATURES = (0.05, 20.0)  # beyond these an answer is as good as certain, or as a guess


@dataclass(frozen=True)
class Scores:
    """Of one classifier on some texts; a score whose denominator is zero is 0."""

    accuracy: float  # texts whose labels are all right
    precision: Floats  # by label
    recall: Floats
    f1: Floats
    macro_precision: float  # the mean over labels, however many texts each has
    macro_recall: float
    macro_f1: float


@dataclass(frozen=True)
class Calibration:
    """How often answers of some confidence are right: the expected error, and a row for each bin that is not empty."""

    error: float
    confidence: tuple[float, ...]  # the mean within a bin
    accuracy: tuple[float, ...]
    counts: tuple[int, ...]


def table_of(labels: npt.NDArray[np.integer], n_labels: int) -> Booleans:
    """One label a text [N] as a table [N, C]."""
    return labels[:, None] == np.arange(n_labels)


def probabilities(logits_NC: Floats, temperature: float = 1.0, *, multi_label: bool = False) -> Floats:
    """Softmax over labels, or with `multi_label` the logistic function of each, of logits over a temperature."""
    scaled = np.asarray(logits_NC, np.float64) / temperature
    if multi_label:
        return 1 / (1 + np.exp(-np.clip(scaled, -700, 700)))
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def decisions(probabilities_NC: Floats, *, multi_label: bool = False, threshold: float = 0.5) -> Booleans:
    """The most probable label of each text, or with `multi_label` all that reach the threshold."""
    if multi_label:
        return probabilities_NC >= threshold
    return table_of(probabilities_NC.argmax(axis=1), probabilities_NC.shape[1])


def score(predicted_NC: Booleans, true_NC: Booleans) -> Scores:
    """The scores of decisions; raises GroundupError where there is no text."""
    if not len(true_NC):
        raise GroundupError("there is no text to score a classifier on; give some to test with")
    [found] = _scores(np.ones((1, len(true_NC))), predicted_NC, true_NC)
    return found


def intervals(predicted_NC: Booleans, true_NC: Booleans, seed: int = 0) -> dict[str, Interval | list[Interval]]:
    """The 95 % intervals of accuracy and macro F1, and of each label's F1."""
    drawn = list(_draws(predicted_NC, true_NC, seed))
    by_label = np.percentile([each.f1 for each in drawn], (2.5, 97.5), axis=0)
    return {
        "accuracy": _middle([each.accuracy for each in drawn]),
        "macro_f1": _middle([each.macro_f1 for each in drawn]),
        "f1": [(float(low), float(high)) for low, high in by_label.T],
    }


def difference(first_NC: Booleans, second_NC: Booleans, true_NC: Booleans, seed: int = 0) -> tuple[float, Interval]:
    """Macro F1 of the first minus that of the second, and its 95 % interval."""
    pairs = zip(_draws(first_NC, true_NC, seed), _draws(second_NC, true_NC, seed), strict=True)
    drawn = [one.macro_f1 - other.macro_f1 for one, other in pairs]
    return score(first_NC, true_NC).macro_f1 - score(second_NC, true_NC).macro_f1, _middle(drawn)


def confusion(predicted_NC: Booleans, true_NC: Booleans) -> npt.NDArray[np.int64]:
    """How many texts of each label (rows) were given each label (columns); for labels that exclude each other."""
    return true_NC.T.astype(np.int64) @ predicted_NC.astype(np.int64)


def calibration(probabilities_NC: Floats, true_NC: Booleans, *, multi_label: bool = False) -> Calibration:
    """Confidence against accuracy: of each text's answer, or with `multi_label` of each yes or no to a label."""
    if multi_label:
        yes = probabilities_NC >= 0.5
        sure, right = np.where(yes, probabilities_NC, 1 - probabilities_NC).ravel(), (yes == true_NC).ravel()
    else:
        rows, best = np.arange(len(true_NC)), probabilities_NC.argmax(axis=1)
        sure, right = probabilities_NC[rows, best], true_NC[rows, best]
    bins = np.clip(np.ceil(sure * N_BINS).astype(int) - 1, 0, N_BINS - 1)
    counts = np.bincount(bins, minlength=N_BINS)
    kept = counts > 0
    confidence = np.bincount(bins, sure, N_BINS)[kept] / counts[kept]
    accuracy = np.bincount(bins, right, N_BINS)[kept] / counts[kept]
    error = float((np.abs(confidence - accuracy) * counts[kept]).sum() / len(sure))
    return Calibration(error, tuple(confidence.tolist()), tuple(accuracy.tolist()), tuple(counts[kept].tolist()))


def mean_loss(logits_NC: Floats, true_NC: Booleans, temperature: float = 1.0, *, multi_label: bool = False) -> float:
    """Nats a text: cross entropy, or with `multi_label` the mean over labels of that of yes and no."""
    scaled = np.asarray(logits_NC, np.float64) / temperature
    if multi_label:
        return float(np.logaddexp(0, np.where(true_NC, -scaled, scaled)).mean())
    return float((np.logaddexp.reduce(scaled, axis=1) - scaled[true_NC]).mean())


def fit_temperature(logits_NC: Floats, true_NC: Booleans, *, multi_label: bool = False) -> float:
    """The temperature of the least loss, by golden sections; the loss is convex in its inverse, so there is one."""
    loss: Callable[[float], float] = lambda t: mean_loss(logits_NC, true_NC, float(np.exp(t)), multi_label=multi_label)  # noqa: E731
    low, high = np.log(_TEMPERATURES)
    share = (5**0.5 - 1) / 2
    for _ in range(40):
        left, right = high - share * (high - low), low + share * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return round(float(np.exp((low + high) / 2)), 4)


def _draws(predicted_NC: Booleans, true_NC: Booleans, seed: int) -> Iterator[Scores]:
    """The scores over texts drawn anew, `N_DRAWS` times; the same draws for the same seed and number of texts."""
    n, generator = len(true_NC), np.random.default_rng(seed)
    at_once = max(1, _TEXTS_AT_ONCE // n)
    for start in range(0, N_DRAWS, at_once):
        times = generator.multinomial(n, np.full(n, 1 / n), size=min(at_once, N_DRAWS - start))
        yield from _scores(times.astype(np.float64), predicted_NC, true_NC)


def _scores(times_RN: Floats, predicted_NC: Booleans, true_NC: Booleans) -> Iterator[Scores]:
    """The scores where text n counts `times_RN[r, n]` times."""
    right = times_RN @ (predicted_NC == true_NC).all(axis=1) / times_RN.sum(axis=1)
    hits, given, there = (times_RN @ table for table in (predicted_NC & true_NC, predicted_NC, true_NC))
    precision, recall, f1 = _ratio(hits, given), _ratio(hits, there), _ratio(2 * hits, given + there)
    for row in range(len(times_RN)):
        parts = precision[row], recall[row], f1[row]
        yield Scores(float(right[row]), *parts, *(float(part.mean()) for part in parts))


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part, dtype=np.float64), where=whole > 0)


def _middle(values: list[float]) -> Interval:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
