"""Grouped products against one product a group, with gradients, and as torch's own kernel has them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from groundup.models.layers import grouped_product as module
from groundup.models.layers.grouped_product import grouped_product

ENDS = torch.tensor([3, 3, 10, 11], dtype=torch.int32)  # the second group is empty


def inputs(dtype: torch.dtype = torch.float32, n_in: int = 7, n_out: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(11, n_in, generator=generator).to(dtype).requires_grad_()
    return x, torch.randn(4, n_out, n_in, generator=generator).to(dtype).requires_grad_()


def plain(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    group_of_row = torch.tensor([0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 3])
    return torch.einsum("mi,moi->mo", x, weight[group_of_row])


def test_each_row_meets_the_matrix_of_its_group() -> None:
    x, weight = inputs()
    out, wanted = grouped_product(x, weight, ENDS), plain(x, weight)
    torch.testing.assert_close(out, wanted)
    found = torch.autograd.grad(out.sin().sum(), (x, weight))
    torch.testing.assert_close(found, torch.autograd.grad(wanted.sin().sum(), (x, weight)))
    assert found[1][1].abs().max() == 0, "a group without rows has no gradient"


@pytest.mark.skipif(not hasattr(F, "grouped_mm"), reason="this torch has no grouped kernel")
def test_torchs_kernel_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = inputs(torch.bfloat16, 16, 24)
    one = grouped_product(x, weight, ENDS)
    gradients = torch.autograd.grad(one.float().square().sum(), (x, weight))
    monkeypatch.setattr(module, "_kernel_fits", lambda one, other: True)
    other = grouped_product(x, weight, ENDS)
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(gradients, torch.autograd.grad(other.float().square().sum(), (x, weight)))


def test_operations_are_counted() -> None:
    x, weight = inputs()
    with FlopCounterMode(display=False) as counter:
        grouped_product(x, weight, ENDS).sum().backward()
    assert counter.get_total_flops() == 3 * 2 * 11 * 7 * 5
