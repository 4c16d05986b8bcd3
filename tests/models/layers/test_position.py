"""Positions restart with documents; rotary positions show attention distances only."""

from __future__ import annotations

import math

import torch

from groundup.models.layers.position import Rotary, document_positions, rotate, sinusoids


def test_positions_restart_with_each_document() -> None:
    ids = torch.tensor([[4, 4, 4, 9, 9, 2], [0, 1, 2, 2, 2, 2], [7, 7, 7, 7, 7, 7]])
    expected = [[0, 1, 2, 0, 1, 0], [0, 0, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]
    assert document_positions(ids).tolist() == expected


def test_sinusoids_by_hand() -> None:
    """Four numbers: sine and cosine of the position, then of a hundredth of it, since 10,000^(2/4) = 100."""
    table = sinusoids(torch.tensor([[0, 1, 30]]), 4)[0]
    expected = [[math.sin(p), math.cos(p), math.sin(p / 100), math.cos(p / 100)] for p in (0, 1, 30)]
    torch.testing.assert_close(table, torch.tensor(expected))
    assert sinusoids(torch.tensor([[3]]), 5).shape == (1, 1, 5)


def test_sinusoids_of_a_distance_have_one_product() -> None:
    table = sinusoids(torch.arange(40)[None], 16)[0]
    products = table @ table.T
    torch.testing.assert_close(products[3, 10], products[25, 32])
    torch.testing.assert_close(products[7, 7], torch.tensor(8.0))


def test_angles_by_hand() -> None:
    """Two pairs, base 100: a token turns the first by 1 radian and the second by 1/10."""
    cos, sin = Rotary(4, 100.0).angles(torch.tensor([[0, 1, 5]]))
    assert cos.shape == sin.shape == (1, 3, 1, 2)
    turns = torch.tensor([[0.0, 0.0], [1.0, 0.1], [5.0, 0.5]])
    torch.testing.assert_close(cos[0, :, 0], turns.cos())
    torch.testing.assert_close(sin[0, :, 0], turns.sin())


def test_a_quarter_turn_moves_the_first_half_into_the_second() -> None:
    angles = (torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    assert rotate(torch.tensor([[[[3.0, 4.0]]]]), angles).tolist() == [[[[-4.0, 3.0]]]]


def test_lengths_stay_and_products_depend_on_the_distance_alone() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 32).unbind()

    def at(x: torch.Tensor, position: int) -> torch.Tensor:
        return rotate(x, Rotary(32, 10_000.0).angles(torch.tensor([[position]]))).flatten()

    assert math.isclose(at(q, 77).norm(), q.norm(), rel_tol=1e-5)
    product = at(q, 9) @ at(k, 4)
    assert math.isclose(at(q, 1009) @ at(k, 1004), product, rel_tol=1e-3)
    assert not math.isclose(at(q, 9) @ at(k, 5), product, rel_tol=1e-2)


def test_far_positions_stay_exact_in_bf16() -> None:
    """Angles are fp32 whatever the model computes in: bf16 could not tell position 1000 from 1001."""
    x = torch.ones(1, 2, 1, 8, dtype=torch.bfloat16)
    turned = rotate(x, Rotary(8, 10_000.0).angles(torch.tensor([[1000, 1001]])))
    assert turned.dtype == torch.bfloat16
    assert (turned[0, 0] - turned[0, 1]).abs().max() > 0.1
