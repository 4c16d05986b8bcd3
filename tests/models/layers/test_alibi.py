"""Linear biases: the paper's slopes, another implementation's biases, and both in attention."""

from __future__ import annotations

import pytest
import torch

from groundup.models.layers.alibi import alibi_slopes, with_alibi
from groundup.models.layers.attention import attention, reference_attention


def test_slopes_of_the_paper() -> None:
    assert alibi_slopes(8) == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]
    assert alibi_slopes(16)[:4] == pytest.approx([2**-0.5, 2**-1, 2**-1.5, 2**-2])
    assert alibi_slopes(1) == [2**-8]


def test_slopes_between_powers_of_two() -> None:
    """Six heads: the four of 2^-2, 2^-4, 2^-6, 2^-8, then the first and third of eight heads'."""
    assert alibi_slopes(6) == [1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 2, 1 / 8]


def biases(n_heads: int, length: int) -> torch.Tensor:
    order = torch.arange(length)
    return with_alibi(torch.ones(length, length).tril().bool()[None, None], (order[:, None] - order)[None], n_heads)


@pytest.mark.parametrize("n_heads", [1, 2, 3, 6, 8, 12, 20])
def test_biases_are_those_of_bloom(n_heads: int) -> None:
    """Bloom adds `slope * position of the key`: the same up to a number a query, which softmax does not see."""
    bloom = pytest.importorskip("transformers.models.bloom.modeling_bloom")
    length = 7
    theirs = bloom.build_alibi_tensor(torch.ones(1, length), n_heads, torch.float32).view(n_heads, 1, length)
    scores = torch.randn(n_heads, length, length, generator=torch.Generator().manual_seed(0))
    seen = torch.ones(length, length).tril().bool()
    weights = (scores + theirs).masked_fill(~seen, -torch.inf).softmax(-1)
    torch.testing.assert_close((scores + biases(n_heads, length)[0]).softmax(-1), weights)


def test_by_hand() -> None:
    """Keys of no say: two heads of slopes 1/16 and 1/256 share by distance alone."""
    q, k = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4)
    v = torch.eye(3)[None, None].expand(1, 2, 3, 3)
    weights = reference_attention(q, k, v, biases(2, 3))[1][0]
    for head, slope in enumerate((1 / 16, 1 / 256)):
        raw = torch.tensor([-2 * slope, -slope, 0.0]).exp()
        torch.testing.assert_close(weights[head, 2], raw / raw.sum())
    torch.testing.assert_close(attention(q, k, v, mask=biases(2, 3))[0], weights)
