"""Packed weights: the same products as plain ones, to the bit in bf16, whatever the shape and the number of rows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from groundup.models.layers.packed import PackedLinear, can_pack

DTYPES = [dtype for dtype in (torch.float32, torch.bfloat16) if can_pack(dtype)]


def numbers(*shape: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_this_kind_of_machine_has_the_products() -> None:
    """oneDNN is in every x86 build of torch; without this the tests below would be empty unnoticed."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch was built without oneDNN")
    assert torch.float32 in DTYPES


def test_a_dtype_without_products_is_said_so() -> None:
    assert not can_pack(torch.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n_rows", "n_in", "n_out"), [(1, 48, 33), (8, 64, 96), (17, 7, 5), (200, 96, 64)])
@pytest.mark.parametrize("biased", [True, False])
def test_products_are_those_of_the_plain_weights(
    dtype: torch.dtype, n_rows: int, n_in: int, n_out: int, biased: bool
) -> None:
    weight, x = numbers(n_out, n_in, dtype=dtype), numbers(n_rows, n_in, dtype=dtype, seed=1)
    bias = numbers(n_out, dtype=dtype, seed=2) if biased else None
    linear = PackedLinear(weight, bias)
    found = linear(x.view(1, n_rows, n_in))
    assert found.shape == (1, n_rows, n_out)
    assert found.dtype == dtype
    exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    assert (found[0].double() - exact).norm() < (1e-6 if dtype == torch.float32 else 5e-3) * exact.norm()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_comes_out_the_same_alone_and_among_others(dtype: torch.dtype) -> None:
    linear, x = PackedLinear(numbers(96, 64, dtype=dtype)), numbers(8, 64, dtype=dtype, seed=1)
    torch.testing.assert_close(linear(x), torch.cat([linear(row[None]) for row in x]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_weight_comes_back_to_the_bit(dtype: torch.dtype) -> None:
    weight = numbers(33, 48, dtype=dtype)
    assert torch.equal(PackedLinear(weight).weight, weight)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_input_of_another_dtype_decides_as_with_plain_weights(dtype: torch.dtype) -> None:
    other = torch.bfloat16 if dtype == torch.float32 else torch.float32
    weight, bias, x = numbers(33, 48, dtype=dtype), numbers(33, dtype=dtype, seed=2), numbers(3, 48, dtype=other)
    found = PackedLinear(weight, bias)(x)
    assert torch.equal(found, F.linear(x, weight.to(other), bias.to(other)))
