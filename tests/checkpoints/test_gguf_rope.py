from __future__ import annotations

from pathlib import Path

import pytest
import torch

from groundup.checkpoints.gguf_rope import factors_of, frequencies, rope_of_factors
from groundup.core.errors import GroundupError
from groundup.models.layers.rope_scaling import RopeScaling


@pytest.mark.parametrize(
    ("width", "theta", "factor", "low", "high", "original"),
    [(128, 500_000.0, 8.0, 1.0, 4.0, 8192), (64, 500_000.0, 32.0, 1.0, 4.0, 8192), (64, 10_000.0, 8.0, 1.0, 5.0, 48)],
)
def test_the_four_numbers_come_back(
    width: int, theta: float, factor: float, low: float, high: float, original: int
) -> None:
    scaling = RopeScaling(
        kind="llama3", factor=factor, low_freq_factor=low, high_freq_factor=high, original_context_length=original
    )
    factors = factors_of(scaling, frequencies(width, theta), width, theta)
    assert factors[0] == 1 and factors[-1] == factor
    assert rope_of_factors(factors, width, theta, None, Path("x")) == {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }


def test_another_rule_is_refused() -> None:
    with pytest.raises(GroundupError, match="another way than Llama 3's"):
        rope_of_factors(torch.tensor([1.0, 3.0, 2.0, 5.0]), 8, 10_000.0, None, Path("x"))
