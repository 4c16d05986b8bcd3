"""Soft caps by hand, and their slope against autograd's."""

from __future__ import annotations

import math

import pytest
import torch

from groundup.models.layers.softcap import slope, soft_capped


def test_small_numbers_stay_and_large_ones_reach_the_cap() -> None:
    x = torch.tensor([0.0, 0.01, 5.0, -5.0, 1e4])
    capped = soft_capped(x, 5.0)
    assert capped[:2].tolist() == pytest.approx([0.0, 0.01], abs=1e-6)
    assert capped[2].item() == pytest.approx(5 * math.tanh(1))
    assert capped[3] == -capped[2]
    assert capped[4] == 5.0


def test_the_slope_is_the_derivative() -> None:
    x = torch.linspace(-40, 40, 33, dtype=torch.float64, requires_grad=True)
    (wanted,) = torch.autograd.grad(soft_capped(x, 7.0).sum(), x)
    torch.testing.assert_close(slope(soft_capped(x, 7.0), 7.0), wanted)


def test_the_compilers_form_is_the_same_number(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.linspace(-200, 200, 1001)
    plain = soft_capped(x, 50.0)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert (soft_capped(x, 50.0) - plain).abs().max() < 2e-5
    assert soft_capped(x.bfloat16(), 50.0).dtype == torch.bfloat16
