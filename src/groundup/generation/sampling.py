"""From logits to the next token: the settings of generation and what each does to the scores.

One idea: every rule is a plain function from scores to scores that sets what may not be chosen to minus infinity; the
draw comes last. Order and meaning are those of `transformers`, so settings carry over: repetition penalty,
temperature, top-k, top-p, min-p.

The draw is the Gumbel-max trick (Gumbel 1954; Maddison et al. 2014, "A* Sampling", section 2): each token's score
gets its own noise and the greatest sum wins. It follows the softmax distribution exactly, as drawing from the
cumulative sum does; but when a score moves by a rounding error (a batch instead of one row), the choice moves only if
two tokens were that close, where a cumulative sum shifts the bounds of all tokens behind it. So a text written in a
batch is the text written alone.

Sources: top-k, Fan et al. 2018 (arXiv 1805.04833, section 5.2); top-p, Holtzman et al. 2019 (1904.09751, section
3.1); min-p, Nguyen et al. 2024 (2407.01082, section 3); repetition penalty, Keskar et al. 2019 (CTRL, 1909.05858,
section 4.1).

Shapes: B rows, V tokens of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from groundup.core.errors import GroundupError
from groundup.generation.settings import SamplingSettings

NUCLEUS_GUESS = 1024  # tokens looked at before the whole vocabulary is sorted; nearly always enough for top-p
SMALLEST_TEMPERATURE = 1e-20  # float32 cannot divide by less; what is drawn there is the greedy choice anyway


def penalize_repetition(scores_BV: Tensor, seen_BV: Tensor, penalty: float) -> Tensor:
    """Where `seen_BV` is true, divide positive scores by `penalty` and multiply negative ones, so that both fall."""
    penalized = torch.where(scores_BV < 0, scores_BV * penalty, scores_BV / penalty)
    return torch.where(seen_BV, penalized, scores_BV)


def keep_top_k(scores_BV: Tensor, k: int) -> Tensor:
    """Only the `k` greatest scores of a row stay; those equal to the k-th stay too."""
    smallest_kept = scores_BV.topk(min(k, scores_BV.shape[-1])).values[:, -1:]
    return scores_BV.masked_fill(scores_BV < smallest_kept, -math.inf)


def keep_top_p(scores_BV: Tensor, p: float) -> Tensor:
    """Only the fewest likeliest tokens whose probabilities sum to at least `p` stay; always one at least.

    A token stays when the tokens above it hold less than `p` together.
    """
    probabilities_BV = scores_BV.softmax(-1)
    n_tokens = scores_BV.shape[-1]
    likeliest, ids = probabilities_BV.topk(min(NUCLEUS_GUESS, n_tokens))
    if likeliest.shape[-1] < n_tokens and bool((likeliest.sum(-1) < p).any()):
        likeliest, ids = probabilities_BV.sort(descending=True)
    mass_above = torch.nn.functional.pad(likeliest.cumsum(-1)[:, :-1], (1, 0))
    kept_BV = torch.zeros_like(scores_BV, dtype=torch.bool).scatter_(-1, ids, mass_above < p)
    return scores_BV.masked_fill(~kept_BV, -math.inf)


def keep_min_p(scores_BV: Tensor, min_p: float) -> Tensor:
    """Only tokens at least `min_p` times as likely as the likeliest stay: scores at most -log(min_p) below it."""
    return scores_BV.masked_fill(scores_BV < scores_BV.amax(-1, keepdim=True) + math.log(min_p), -math.inf)


def narrowed_scores(logits_BV: Tensor, settings: SamplingSettings, seen_BV: Tensor | None = None) -> Tensor:
    """What is drawn from: float32 scores after every rule of `settings`, up to a constant per row.

    `seen_BV` marks the tokens of each row's text so far; needed with a repetition penalty.
    """
    scores_BV = logits_BV.float()
    if settings.repetition_penalty != 1:
        assert seen_BV is not None
        scores_BV = penalize_repetition(scores_BV, seen_BV, settings.repetition_penalty)
    if settings.temperature == 0:
        return scores_BV
    if settings.temperature != 1:
        # Measured from the greatest, so that no temperature can make two scores infinite.
        distance_BV = scores_BV - scores_BV.amax(-1, keepdim=True)
        scores_BV = distance_BV / max(settings.temperature, SMALLEST_TEMPERATURE)
    if settings.top_k:
        scores_BV = keep_top_k(scores_BV, settings.top_k)
    if settings.top_p < 1:
        scores_BV = keep_top_p(scores_BV, settings.top_p)
    if settings.min_p:
        scores_BV = keep_min_p(scores_BV, settings.min_p)
    return scores_BV


def choose_tokens(
    logits_BV: Tensor,
    settings: SamplingSettings,
    generators: Sequence[torch.Generator],
    seen_BV: Tensor | None = None,
) -> list[int]:
    """The next token of each row; row b draws from `generators[b]` alone, one number per token of the vocabulary.

    Raises `GroundupError` when the logits are not numbers.
    """
    scores_BV = narrowed_scores(logits_BV, settings, seen_BV)
    if settings.temperature > 0:
        waiting_times_BV = torch.empty_like(scores_BV)
        for row, generator in enumerate(generators):
            waiting_times_BV[row].exponential_(generator=generator)
        scores_BV = scores_BV - waiting_times_BV.log_()
    best = scores_BV.max(-1)  # gives NaN when any score is NaN, so the check below reads one number a row
    if bool(best.values.isnan().any()):
        raise GroundupError(
            "the model's logits are not numbers (NaN): its training has diverged or its weights are damaged; "
            "use an earlier checkpoint"
        )
    return best.indices.tolist()


def generator_for(seed: int, sample: int, device: torch.device) -> torch.Generator:
    """The source of randomness of one text: a function of the seed and of which sample of its prompt it is."""
    low, high = np.random.SeedSequence([seed, sample]).generate_state(2)
    return torch.Generator(device).manual_seed(int(high) << 32 | int(low))
