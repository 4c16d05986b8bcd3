"""8-bit weights: rounding within half a step, products equal to those of the widened weights, on every path."""

from __future__ import annotations

import pytest
import torch

from groundup.models.layers.int8 import MOST_ROWS, Int8Linear, check_kernel, quantize_rows


def matrix(n_out: int, n_in: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n_out, n_in, generator=torch.Generator().manual_seed(seed))


def test_a_weight_moves_by_half_a_scale_at_most_and_the_greatest_not_at_all() -> None:
    weight = matrix(7, 48)
    values, scale = quantize_rows(weight)
    assert values.dtype == torch.int8
    wide = values.float() * scale[:, None]
    assert ((wide - weight).abs() <= 0.5001 * scale[:, None]).all()
    assert (values.abs().amax(1) == 127).all()
    torch.testing.assert_close(wide.abs().amax(1), weight.abs().amax(1))


def test_a_row_of_zeros_stays_zero() -> None:
    values, scale = quantize_rows(torch.zeros(2, 16))
    assert values.abs().max() == 0
    assert torch.isfinite(scale).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("n_rows", [1, 3, MOST_ROWS, MOST_ROWS + 1])
def test_products_are_those_of_the_widened_weights(n_rows: int, dtype: torch.dtype) -> None:
    """Few rows go through the kernel, many through widened weights; both are the same map."""
    bias = matrix(1, 33)[0].to(dtype)
    linear = Int8Linear(matrix(33, 48).to(dtype), bias)
    x = matrix(n_rows, 48, seed=1).to(dtype)
    expected = x.float() @ (linear.values.float() * linear.scale.float()[:, None]).T + bias.float()
    found = linear(x.view(1, n_rows, 48))
    assert found.shape == (1, n_rows, 33)
    assert found.dtype == dtype
    error = (found[0].float() - expected).norm() / expected.norm()
    assert error < (1e-5 if dtype == torch.float32 else 1e-2)


def test_its_weight_is_the_matrix_it_was_made_from_to_half_a_scale() -> None:
    weight = matrix(7, 48)
    linear = Int8Linear(weight)
    assert ((linear.weight - weight).abs() <= 0.5001 * linear.scale[:, None]).all()


def test_the_kernel_is_as_it_should_be_here() -> None:
    check_kernel()
