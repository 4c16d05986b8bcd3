"""Settings that no run could use are refused when they are given."""

from __future__ import annotations

import pytest

from groundup.core.errors import GroundupError
from groundup.pretraining.config import PretrainConfig


@pytest.mark.parametrize("name", ["epochs", "learning_rate", "weight_decay", "gradient_clip", "warmup", "dropout"])
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_numbers_without_end_are_refused(name: str, value: str):
    with pytest.raises(GroundupError, match=f"{name} is '{value}'"):
        PretrainConfig.build({name: value})


def test_seeds_fit_into_64_bits():
    assert PretrainConfig.build({"seed": 2**63 - 1}).seed == 2**63 - 1
    for seed in (-1, 2**63):
        with pytest.raises(GroundupError, match=f"seed is {seed}"):
            PretrainConfig.build({"seed": seed})
