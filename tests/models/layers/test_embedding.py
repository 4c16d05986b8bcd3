"""The scale of an embedding is rounded to the dtype it is in."""

from __future__ import annotations

import torch

from groundup.models.layers.embedding import scaled


def test_the_factor_is_rounded_first() -> None:
    ones = torch.ones(2, 3)
    assert scaled(ones, 3072**0.5).tolist() == [[torch.tensor(3072**0.5).item()] * 3] * 2
    assert scaled(ones.bfloat16(), 3072**0.5).tolist() == [[55.5] * 3] * 2  # 55.4256 lies between 55.25 and 55.5
    # Not the product rounded: 1.0078125 * 55.4256 = 55.86, and 1.0078125 * 55.5 = 55.93, which rounds to 56.
    assert scaled(torch.tensor([1.0078125]).bfloat16(), 3072**0.5).item() == 56.0
