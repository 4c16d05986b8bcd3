"""How low will the loss come, before a model is trained: a law of size and data, anchored by counting.

The published laws (Hoffmann et al. 2022; Muennighoff et al. 2023 where text is read again) foretell web text and billions of
tokens; their constants say nothing about a model of a million parameters on somebody's letters. Most of what differs between
texts, though, is how predictable they are at all, and that can be measured in seconds without training anything: count
short runs of tokens in a sample of the training text and let the counts predict the validation text. Counting on samples
of 1/64, 1/16, 1/4 and all of it gives a learning curve of the text itself. Small models follow that curve at a distance that
hardly depends on the text. So counting sets the level, the published laws the shape, and our own runs the weights.

Counting: interpolated Kneser-Ney (Kneser and Ney 1995; Chen and Goodman 1999, section 2.7), one discount an order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from groundup.data.store import TokenSplit

HIGHEST_ORDER = 4
COUNTED_TOKENS = 1 << 20  # of the training text, at most: about three seconds
PREDICTED_TOKENS = 1 << 15  # of the validation text, at most
SAMPLE_WINDOW = 256  # tokens; samples are windows spread evenly over the text, which is seldom the same throughout
LOWEST_LOSS = 1e-3  # nats a token
FEWEST_TOKENS = 2_000  # counting on less says nothing


@dataclass(frozen=True)
class Anchor:
    """What counting reaches on the validation text after `n_tokens` of the training text, in nats a token."""

    n_tokens: int
    losses: tuple[float, ...]  # of counting runs of 1, 2, ... HIGHEST_ORDER tokens


@dataclass(frozen=True)
class Difficulty:
    """How hard a text is to predict: what counting learns of it, from little text to all (or `COUNTED_TOKENS`)."""

    anchors: tuple[Anchor, ...]  # by rising n_tokens
    n_train_tokens: int
    vocab_size: int

    def at(self, n_tokens: float) -> Anchor:
        """What counting reaches after so many distinct tokens: between anchors by interpolation, beyond by slowing down.

        Losses are straight lines between anchors over log(n_tokens). Past the last anchor the slope goes on shrinking by the
        factor it last shrank by, as it does on every text we looked at. Less text than the first anchor's is never
        foretold better, whatever the line says that goes through the first two.
        """
        x = [math.log(anchor.n_tokens) for anchor in self.anchors]
        by_order = zip(*(anchor.losses for anchor in self.anchors), strict=True)
        losses = (
            max(
                _interpolate(math.log(n_tokens), x, list(y)),
                y[0] if n_tokens < self.anchors[0].n_tokens else LOWEST_LOSS,
            )
            for y in by_order
        )
        return Anchor(round(n_tokens), tuple(losses))


# The law: log(loss) is a weighted sum of `features`. Weights by `python benchmarks/forecast_fit.py fit`, from the runs in
# benchmarks/data/forecast_runs.jsonl; docs/design/002-planner.md has the errors on texts left out of the fit.
LAW = {
    "constant": -1.017,
    "trigram": 1.5217,
    "bigram": 0.7408,
    "size": 0.0904,
    "repeats": 0.727,
    "together": -0.013,
    "vocabulary": -0.0389,
    "memorising": 0.0442,
}
REPEATS_WORTH = 15.0  # Muennighoff et al. 2023, section 6 (R*_D = 15.4): repeating is worth ever less new text


def forecast_loss(difficulty: Difficulty, matrix_parameters: int, n_tokens: float) -> float:
    """The loss (nats a token, on the validation text) of a model trained on so many tokens with the default recipe.

    At most that of a model that was not trained, which finds all tokens equally likely.
    """
    weighed = sum(LAW[name] * value for name, value in features(difficulty, matrix_parameters, n_tokens).items())
    return min(math.exp(weighed), math.log(difficulty.vocab_size))


def features(difficulty: Difficulty, matrix_parameters: int, n_tokens: float) -> dict[str, float]:
    """What the law weighs.

    - `trigram`, `bigram`: what counting reaches on the distinct tokens the run reads. They set the level.
    - `size`, `repeats`: how the loss moves with parameters and tokens; the shape is that of the published laws.
    - `together`: size helps more the longer the training, and more here than in the published law; measured for small models
      and short runs, so it counts within that range only.
    - `vocabulary`: with more kinds of tokens, models stay nearer to counting, or pass it: most are rare, and a model
      learns what a rare token has in common with others where counting begins anew. Within the range of our runs.
    - `memorising`: readings of a text that the weights could hold by heart: the more parameters for a distinct token and the
      more readings, the more the training loss alone falls, and the validation loss rises.
    """
    distinct = min(n_tokens, difficulty.n_train_tokens)
    repeats = n_tokens / distinct - 1
    _, bigram, trigram, *_ = difficulty.at(distinct).losses
    worth = distinct * (1 + REPEATS_WORTH * (1 - math.exp(-repeats / REPEATS_WORTH)))
    once = _published_law(matrix_parameters, distinct)
    return {
        "constant": 1.0,
        "trigram": math.log(trigram),
        "bigram": math.log(bigram / trigram),
        "size": math.log(once),
        "repeats": math.log(_published_law(matrix_parameters, worth) / once),
        "together": _log_within(matrix_parameters) * _log_within(worth),
        "vocabulary": math.log(min(max(difficulty.vocab_size, 1024), 8192) / 1024),
        "memorising": math.log1p(repeats * matrix_parameters / distinct) * math.log1p(repeats),
    }


def _log_within(value: float) -> float:
    """How far `value` is into the range of our runs, 1e5 to 5e6, as a logarithm."""
    return math.log(min(max(value, 1e5), 5e6) / 1e5)


def _published_law(n_parameters: float, n_tokens: float) -> float:
    """Hoffmann et al. 2022, equation 10: the loss on web text."""
    return 1.69 + 406.4 / n_parameters**0.34 + 410.7 / n_tokens**0.28


def best_tokens(difficulty: Difficulty, matrix_parameters: int, most: float) -> float:
    """The number of tokens, up to `most`, with the lowest foretold loss: fewer than `most` where repeating harms."""
    once = min(most, difficulty.n_train_tokens)
    choices = [once * (most / once) ** (k / 100) for k in range(101)]
    return min(reversed(choices), key=lambda n_tokens: forecast_loss(difficulty, matrix_parameters, n_tokens))


def measure_difficulty(texts: Sequence[tuple[TokenSplit, TokenSplit, float]], vocab_size: int) -> Difficulty:
    """Count on samples of the training tokens and predict a sample of the validation tokens.

    Each text is (training split, validation split, share); shares sum to 1, and samples hold as much of each text. Where none has
    validation text the last twentieth of the training tokens is predicted, by what stands before it.
    """
    held_out = any(validation.n_tokens for _, validation, _ in texts)
    usable, predicted = [], []
    for train, validation, share in texts:
        n_train = train.n_tokens
        if not held_out:
            n_train -= max(1, min(train.n_tokens // 20, round(share * PREDICTED_TOKENS)))
            predicted.append(train.read(n_train, train.n_tokens - n_train).astype(np.int64))
        elif validation.n_tokens:
            predicted.append(sample(validation, validation.n_tokens, max(1, round(share * PREDICTED_TOKENS))))
        usable.append((train, n_train, share))
    most = min(sum(n_train for _, n_train, _ in usable), COUNTED_TOKENS)
    sizes = [most // 4**k for k in range(4) if k == 0 or most // 4**k >= FEWEST_TOKENS]
    anchors = []
    for size in reversed(sizes):
        counted = np.concatenate([sample(train, n, max(1, round(share * size))) for train, n, share in usable])
        losses = counting_losses(counted, np.concatenate(predicted), vocab_size)
        anchors.append(Anchor(len(counted), tuple(losses)))
    # The text of a mixture lasts until its average token has been read (interleave.py).
    once = 1 / sum(share**2 / train.n_tokens for train, _, share in texts)
    return Difficulty(tuple(anchors), round(once), vocab_size)


def sample(split: TokenSplit, n_tokens: int, size: int) -> np.ndarray:
    """About `size` of the first `n_tokens` of a split, int64: windows spread evenly over them, or all of them."""
    if size >= n_tokens:
        return split.read(0, n_tokens).astype(np.int64)
    window = min(SAMPLE_WINDOW, size)
    n_windows = size // window
    starts = np.arange(n_windows) * (n_tokens - window) // n_windows
    return np.concatenate([split.read(start, window) for start in starts.tolist()]).astype(np.int64)


def counting_losses(counted: np.ndarray, predicted: np.ndarray, vocab_size: int) -> list[float]:
    """Mean loss (nats) on `predicted` of Kneser-Ney models of order 1 to `HIGHEST_ORDER`, with the counts of `counted`.

    An n-gram is known by a number: grams[k][i] is that of the k + 1 tokens that end at position i of both texts laid end
    to end. So counting is sorting, and a million tokens take a second or two.
    """
    n = len(counted)
    tokens = np.concatenate([counted, predicted])
    grams = [np.unique(tokens, return_inverse=True)[1]]
    for _ in range(1, HIGHEST_ORDER):
        grams.append(np.unique(_before(grams[-1]) * vocab_size + tokens, return_inverse=True)[1])

    probability = np.full(len(predicted), 1 / vocab_size)
    losses = []
    for k, gram in enumerate(grams):
        context = _before(grams[k - 1]) if k else np.zeros_like(tokens)
        kinds, where = _first_places(gram, k, n)
        if k + 1 < HIGHEST_ORDER:  # below the top, an n-gram counts as often as different tokens stand before it
            _, longer = _first_places(grams[k + 1], k + 1, n)
            counts = np.bincount(gram[longer], minlength=len(tokens))
        else:
            counts = np.bincount(gram[k:n], minlength=len(tokens))
        once, twice = (int((counts[kinds] == times).sum()) for times in (1, 2))
        discount = once / (once + 2 * twice) if once else 0.5  # Ney, Essen and Kneser 1994
        total = np.bincount(context[where], weights=counts[kinds], minlength=len(tokens))[context[n:]]
        n_kinds = np.bincount(context[where], minlength=len(tokens))[context[n:]]
        seen = np.maximum(counts[gram[n:]] - discount, 0)
        known = total > 0  # elsewhere the context is new, and the shorter one decides
        probability[known] = ((seen + discount * n_kinds * probability) / np.maximum(total, 1))[known]
        # Not quite zero, of which there is no logarithm, where a text only repeats itself.
        losses.append(max(float(-np.log(probability).mean()), LOWEST_LOSS))
    return losses


def _first_places(gram: np.ndarray, k: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The different values of gram[k:n], and where each is first seen; before position k there is no whole n-gram."""
    kinds, where = np.unique(gram[k:n], return_index=True)
    return kinds, where + k


def _before(values: np.ndarray) -> np.ndarray:
    """The value one position earlier; 0 at the first."""
    return np.concatenate([np.zeros(1, values.dtype), values[:-1]])


def _interpolate(x: float, xs: list[float], ys: list[float]) -> float:
    """y at x on the lines through the points; beyond the ends, see `Difficulty.at`."""
    if len(xs) == 1:
        return ys[0]
    slopes = [(y1 - y0) / (x1 - x0) for x0, x1, y0, y1 in zip(xs, xs[1:], ys, ys[1:], strict=False)]
    if x <= xs[0]:
        return ys[0] + slopes[0] * (x - xs[0])
    if x <= xs[-1]:
        return float(np.interp(x, xs, ys))
    shrinking = 0.7 if len(slopes) < 2 or slopes[-2] == 0 else min(max(slopes[-1] / slopes[-2], 0.5), 0.9)
    rate = -math.log(shrinking) / (xs[-1] - xs[-2])  # the slope is slopes[-1] exp(-rate (x - last midpoint))
    begin = (xs[-1] - xs[-2]) / 2
    return ys[-1] + slopes[-1] / rate * (math.exp(-rate * begin) - math.exp(-rate * (begin + x - xs[-1])))
