"""Attention built up in the four steps in which it is taught, every number on the way kept for people to see.

1. Simple: each token is compared with each by the product of their vectors; nothing is learned.
2. With trainable weights: tokens are compared as queries and keys, and give values; scores are divided by sqrt(K), so
   that wide vectors do not make softmax pick a single token (Vaswani et al. 2017, section 3.2.1).
3. Causal: no token sees those behind it; while training, some weights are dropped.
4. Several heads: as a list of single ones, or by one projection cut into parts. Both are the same.

The steps, the example and its numbers are those of Raschka 2024, "Build a Large Language Model (From Scratch)", chapter 3.
Models use attention.py; the tests hold both equal.

Shapes: T tokens (queries), S tokens (keys), D numbers that come in, K numbers of a head, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# The example of the book, section 3.3.1: three made-up numbers for each word.
WORDS = ("Your", "journey", "starts", "with", "one", "step")
EMBEDDINGS = (
    (0.43, 0.15, 0.89),
    (0.55, 0.87, 0.66),
    (0.57, 0.85, 0.64),
    (0.22, 0.58, 0.33),
    (0.77, 0.25, 0.10),
    (0.05, 0.80, 0.55),
)


@dataclass(frozen=True)
class Steps:
    """What attention computes on the way: context = weights @ values, weights = softmax(scores), rows for who looks."""

    queries_TK: Tensor
    keys_SK: Tensor
    values_SK: Tensor
    scores_TS: Tensor  # minus infinity where a token may not look
    weights_TS: Tensor
    context_TK: Tensor


@dataclass(frozen=True)
class Projection:
    """The trainable weights of attention: matrices [D, K] that a token's vector is multiplied with."""

    query_DK: Tensor
    key_DK: Tensor
    value_DK: Tensor

    @classmethod
    def uniform(cls, d_in: int, d_out: int, generator: torch.Generator) -> Projection:
        """Random numbers between 0 and 1, as in the book's first version (section 3.4.1)."""
        return cls(*(torch.rand(d_in, d_out, generator=generator) for _ in range(3)))

    @classmethod
    def linear(cls, d_in: int, d_out: int, generator: torch.Generator) -> Projection:
        """Numbers as torch.nn.Linear begins with, within 1/sqrt(d_in) of zero, as in the book's other versions."""
        bound = d_in**-0.5
        drawn = (torch.empty(d_out, d_in).uniform_(-bound, bound, generator=generator) for _ in range(3))
        return cls(*(matrix.T for matrix in drawn))


def simple_attention(x_TD: Tensor) -> Steps:
    """Step 1: each vector becomes a mean of all, weighted by how alike they are; nothing is learned."""
    return _attend(x_TD, x_TD, x_TD, scale=1.0)


def trainable_attention(x_TD: Tensor, projection: Projection) -> Steps:
    """Step 2: tokens look as queries, are looked at as keys, and give values."""
    return _attend(*_projected(x_TD, projection))


def causal_attention(
    x_TD: Tensor, projection: Projection, *, dropout: float = 0.0, generator: torch.Generator | None = None
) -> Steps:
    """Step 3: the same without a look ahead; each weight is dropped with the probability `dropout`, and the rest grow
    by 1/(1 - dropout), so that their sum stays what it was on average (section 3.5.2).
    """
    steps = _attend(*_projected(x_TD, projection), causal=True)
    if not dropout:
        return steps
    kept_TS = torch.empty_like(steps.weights_TS).bernoulli_(1 - dropout, generator=generator)
    weights_TS = steps.weights_TS * kept_TS / (1 - dropout)
    parts = (steps.queries_TK, steps.keys_SK, steps.values_SK, steps.scores_TS)
    return Steps(*parts, weights_TS, weights_TS @ steps.values_SK)


def heads_apart(x_TD: Tensor, projections: Sequence[Projection]) -> tuple[list[Steps], Tensor]:
    """Step 4 as a list of single heads: the steps of each, and their contexts side by side [T, H K]."""
    heads = [causal_attention(x_TD, projection) for projection in projections]
    return heads, torch.cat([head.context_TK for head in heads], dim=1)


def heads_together(x_TD: Tensor, projection: Projection, n_heads: int) -> tuple[list[Steps], Tensor]:
    """Step 4 by one projection [D, H K], whose numbers are dealt out to the heads in order; the same two things."""
    parts_THK = [part.unflatten(1, (n_heads, -1)) for part in _projected(x_TD, projection)]
    heads = [_attend(*(part[:, head] for part in parts_THK), causal=True) for head in range(n_heads)]
    return heads, torch.cat([head.context_TK for head in heads], dim=1)


def side_by_side(projections: Sequence[Projection]) -> Projection:
    """The one projection that does what a list of single heads does."""
    matrices = ((each.query_DK, each.key_DK, each.value_DK) for each in projections)
    return Projection(*(torch.cat(parts, dim=1) for parts in zip(*matrices, strict=True)))


def _projected(x_TD: Tensor, projection: Projection) -> tuple[Tensor, Tensor, Tensor]:
    return x_TD @ projection.query_DK, x_TD @ projection.key_DK, x_TD @ projection.value_DK


def _attend(
    queries_TK: Tensor, keys_SK: Tensor, values_SK: Tensor, *, causal: bool = False, scale: float | None = None
) -> Steps:
    scores_TS = queries_TK @ keys_SK.T * (queries_TK.shape[1] ** -0.5 if scale is None else scale)
    if causal:
        ahead_TS = torch.ones_like(scores_TS, dtype=torch.bool).triu(1)
        scores_TS = scores_TS.masked_fill(ahead_TS, -torch.inf)
    weights_TS = scores_TS.softmax(dim=1)
    return Steps(queries_TK, keys_SK, values_SK, scores_TS, weights_TS, weights_TS @ values_SK)
