"""The published numbers of the textbook's example, and each of its steps against the attention that models use.

Numbers are those of Raschka 2024, "Build a Large Language Model (From Scratch)", chapter 3, printed there to 4 digits.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from groundup.models.layers.attention import reference_attention
from groundup.models.layers.textbook import (
    EMBEDDINGS,
    Projection,
    Steps,
    causal_attention,
    heads_apart,
    heads_together,
    side_by_side,
    simple_attention,
    trainable_attention,
)

X = torch.tensor(EMBEDDINGS)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_printed(found: Tensor, printed: list) -> None:
    torch.testing.assert_close(found, torch.tensor(printed), atol=6e-5, rtol=0)


def test_simple_attention() -> None:
    steps = simple_attention(X)
    assert_printed(steps.scores_TS[1], [0.9544, 1.4950, 1.4754, 0.8434, 0.7070, 1.0865])
    assert_printed(steps.weights_TS[1], [0.1385, 0.2379, 0.2333, 0.1240, 0.1082, 0.1581])
    assert_printed(
        steps.context_TK,
        [
            [0.4421, 0.5931, 0.5790],
            [0.4419, 0.6515, 0.5683],
            [0.4431, 0.6496, 0.5671],
            [0.4304, 0.6298, 0.5510],
            [0.4671, 0.5910, 0.5266],
            [0.4177, 0.6503, 0.5645],
        ],
    )


def test_trainable_weights() -> None:
    steps = trainable_attention(X, Projection.uniform(3, 2, seeded(123)))
    assert_printed(steps.queries_TK[1], [0.4306, 1.4551])
    assert_printed(steps.scores_TS[1] * 2**0.5, [1.2705, 1.8524, 1.8111, 1.0795, 0.5577, 1.5440])
    assert_printed(steps.weights_TS[1], [0.1500, 0.2264, 0.2199, 0.1311, 0.0906, 0.1820])
    assert_printed(steps.context_TK[1], [0.3061, 0.8210])
    assert_printed(steps.context_TK[5], [0.2990, 0.8040])
    second = trainable_attention(X, Projection.linear(3, 2, seeded(789))).context_TK
    assert_printed(
        second,
        [
            [-0.0739, 0.0713],
            [-0.0748, 0.0703],
            [-0.0749, 0.0702],
            [-0.0760, 0.0685],
            [-0.0763, 0.0679],
            [-0.0754, 0.0693],
        ],
    )


def test_causal_and_dropped_weights() -> None:
    projection = Projection.linear(3, 2, seeded(789))
    weights = causal_attention(X, projection).weights_TS
    causal = [
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.5517, 0.4483, 0.0, 0.0, 0.0, 0.0],
        [0.3800, 0.3097, 0.3103, 0.0, 0.0, 0.0],
        [0.2758, 0.2460, 0.2462, 0.2319, 0.0, 0.0],
        [0.2175, 0.1983, 0.1984, 0.1888, 0.1971, 0.0],
        [0.1935, 0.1663, 0.1666, 0.1542, 0.1666, 0.1529],
    ]
    assert_printed(weights, causal)
    # The same as to hide what lies ahead after softmax and to share the rest out anew.
    seen = trainable_attention(X, projection).weights_TS.tril()
    torch.testing.assert_close(weights, seen / seen.sum(1, keepdim=True))
    dropped = causal_attention(X, projection, dropout=0.5, generator=seeded(123))
    assert_printed(dropped.weights_TS[2], [0.7599, 0.6194, 0.6206, 0.0, 0.0, 0.0])
    assert_printed(dropped.weights_TS[5], [0.0, 0.3327, 0.3331, 0.3084, 0.3331, 0.0])
    torch.testing.assert_close(dropped.context_TK, dropped.weights_TS @ dropped.values_SK)


def test_dropped_weights_keep_their_mean() -> None:
    projection = Projection.linear(3, 2, seeded(789))
    many = [causal_attention(X, projection, dropout=0.3, generator=seeded(seed)).weights_TS for seed in range(2000)]
    torch.testing.assert_close(
        torch.stack(many).mean(0), causal_attention(X, projection).weights_TS, atol=0.05, rtol=0.0
    )


def test_heads_apart() -> None:
    generator = seeded(123)
    projections = [Projection.linear(3, 2, generator) for _ in range(2)]
    heads, together = heads_apart(X, projections)
    assert len(heads) == 2
    assert_printed(
        together,
        [
            [-0.4519, 0.2216, 0.4772, 0.1063],
            [-0.5874, 0.0058, 0.5891, 0.3257],
            [-0.6300, -0.0632, 0.6202, 0.3860],
            [-0.5675, -0.0843, 0.5478, 0.3589],
            [-0.5526, -0.0981, 0.5321, 0.3428],
            [-0.5299, -0.1081, 0.5077, 0.3493],
        ],
    )


def test_heads_together() -> None:
    generator = seeded(123)
    projection = Projection.linear(3, 2, generator)
    _, context = heads_together(X, projection, n_heads=2)
    assert context.shape == (6, 2)
    # The book's class ends with a projection of its own, drawn next.
    bound = 2**-0.5
    weight = torch.empty(2, 2).uniform_(-bound, bound, generator=generator)
    bias = torch.empty(2).uniform_(-bound, bound, generator=generator)
    assert_printed(
        context @ weight.T + bias,
        [[0.3190, 0.4858], [0.2943, 0.3897], [0.2856, 0.3593], [0.2693, 0.3873], [0.2639, 0.3928], [0.2575, 0.4028]],
    )


@pytest.mark.parametrize(("n_heads", "width", "n_tokens"), [(2, 2, 6), (3, 5, 9), (1, 4, 1)])
def test_a_list_of_heads_is_one_projection_and_what_models_compute(n_heads: int, width: int, n_tokens: int) -> None:
    generator = seeded(5)
    x = torch.randn(n_tokens, 7, generator=generator)
    projections = [Projection.linear(7, width, generator) for _ in range(n_heads)]
    one = side_by_side(projections)
    apart, context = heads_apart(x, projections)
    together, same = heads_together(x, one, n_heads)
    torch.testing.assert_close(same, context)
    q, k, v = (
        (x @ matrix).view(1, n_tokens, n_heads, width).transpose(1, 2)
        for matrix in (one.query_DK, one.key_DK, one.value_DK)
    )
    out, weights = reference_attention(q, k, v)
    torch.testing.assert_close(out.transpose(1, 2).flatten(2)[0], context)
    for head in range(n_heads):
        torch.testing.assert_close(apart[head].weights_TS, weights[0, head])
        torch.testing.assert_close(together[head].weights_TS, weights[0, head])


def test_the_first_two_steps_are_what_models_compute_unmasked() -> None:
    everything = torch.ones(1, 1, 6, 6, dtype=torch.bool)

    def reference(steps: Steps, scale: float | None) -> Tensor:
        q, k, v = (part[None, None] for part in (steps.queries_TK, steps.keys_SK, steps.values_SK))
        return reference_attention(q, k, v, everything, scale=scale)[0][0, 0]

    simple = simple_attention(X)
    torch.testing.assert_close(reference(simple, 1.0), simple.context_TK)
    trained = trainable_attention(X, Projection.uniform(3, 2, seeded(123)))
    torch.testing.assert_close(reference(trained, None), trained.context_TK)
