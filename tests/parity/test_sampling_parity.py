"""Each narrowing rule, and all in their order, keep the tokens and probabilities that transformers' processors keep."""

from __future__ import annotations

import pytest
import torch

from groundup.generation.sampling import (
    SamplingSettings,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    narrowed_scores,
    penalize_repetition,
)

transformers = pytest.importorskip("transformers")
from transformers.generation import logits_process as theirs  # noqa: E402

# Small and large vocabularies: above 1,024 tokens top-p first looks at the likeliest only.
SHAPES = [(3, 7), (2, 5000)]


def random_logits(shape: tuple[int, int], spread: float = 3.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * spread


def random_ids(n_rows: int, n_tokens: int) -> torch.Tensor:
    return torch.randint(n_tokens, (n_rows, 12), generator=torch.Generator().manual_seed(9))


def seen_mask(ids: torch.Tensor, n_tokens: int) -> torch.Tensor:
    return torch.zeros(len(ids), n_tokens, dtype=torch.bool).scatter_(1, ids, True)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("penalty", [0.5, 1.3, 4.0])
def test_repetition_penalty(shape, penalty):
    logits, ids = random_logits(shape), random_ids(*shape)
    expected = theirs.RepetitionPenaltyLogitsProcessor(penalty)(ids, logits.clone())
    assert torch.equal(penalize_repetition(logits, seen_mask(ids, shape[1]), penalty), expected)
    assert not torch.equal(expected, logits)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("k", [1, 3, 6, 100_000])
def test_top_k(shape, k):
    logits = random_logits(shape)
    logits[0, :4] = logits[0].max() + 1  # ties at the top: all of them stay, in both
    assert torch.equal(keep_top_k(logits, k), theirs.TopKLogitsWarper(k)(None, logits))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("p", [1e-6, 0.1, 0.5, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("spread", [0.0, 0.3, 3.0])
def test_top_p(shape, p, spread):
    logits = random_logits(shape, spread) + torch.linspace(0, 1e-3, shape[1])  # no exact ties, whose order is open
    ours, expected = keep_top_p(logits, p), theirs.TopPLogitsWarper(p)(None, logits)
    # The sums are taken from opposite ends, so a token whose sum is p to the last digit may fall either way.
    assert (ours.isfinite() != expected.isfinite()).sum(-1).max() <= (1 if shape[1] > 1000 else 0)
    both = ours.isfinite() & expected.isfinite()
    assert torch.equal(ours[both], expected[both])


def test_top_p_on_the_sum_to_the_digit():
    logits = torch.log(torch.tensor([[0.3, 0.1, 0.1, 0.5], [0.15, 0.3, 0.3, 0.25]]))
    assert torch.equal(keep_top_p(logits, 0.8).isfinite(), theirs.TopPLogitsWarper(0.8)(None, logits).isfinite())
    assert keep_top_p(logits, 0.8).isfinite().tolist() == [[True, False, False, True], [False, True, True, True]]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("min_p", [0.01, 0.1, 0.5, 1.0])
def test_min_p(shape, min_p):
    logits = random_logits(shape)
    assert torch.equal(keep_min_p(logits, min_p), theirs.MinPLogitsWarper(min_p)(None, logits))


@pytest.mark.parametrize("seed", range(5))
def test_all_rules_in_their_order(seed):
    shape = (4, 3000)
    logits, ids = random_logits(shape, seed=seed), random_ids(*shape)
    settings = SamplingSettings(temperature=0.7, top_k=50, top_p=0.9, min_p=0.02, repetition_penalty=1.2)
    ours = narrowed_scores(logits, settings, seen_mask(ids, shape[1]))
    expected = theirs.RepetitionPenaltyLogitsProcessor(1.2)(ids, logits)
    for rule in (
        theirs.TemperatureLogitsWarper(0.7),
        theirs.TopKLogitsWarper(50),
        theirs.TopPLogitsWarper(0.9),
        theirs.MinPLogitsWarper(0.02),
    ):
        expected = rule(ids, expected)
    assert torch.equal(ours.isfinite(), expected.isfinite())
    assert 1 < ours.isfinite().sum(-1).max() < 50
    torch.testing.assert_close(ours.softmax(-1), expected.softmax(-1), rtol=1e-5, atol=1e-7)
