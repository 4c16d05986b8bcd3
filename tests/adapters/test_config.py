"""The text of a flag, and what it means."""

from __future__ import annotations

import pytest

from groundup.adapters.config import AdapterConfig
from groundup.core.errors import GroundupError


def test_a_flag_says_what_differs_from_the_defaults() -> None:
    assert AdapterConfig.parse("") == AdapterConfig()
    found = AdapterConfig.parse("r=8, alpha=32,targets=query+value,dora,rslora,dropout=0.1,tokens=5+7")
    assert (found.rank, found.alpha, found.targets, found.kind) == (8, 32.0, ("query", "value"), "dora")
    assert (found.rslora, found.dropout, found.new_tokens) == (True, 0.1, (5, 7))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rnk=8", "did you mean 'rank'"),
        ("r=", "r has no value"),
        ("r=0", "rank is '0'"),
        ("dorra", "did you mean 'dora'"),
        ("dropout=1", "dropout"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(GroundupError, match=message):
        AdapterConfig.parse(text)


def test_the_scale_is_that_of_the_papers() -> None:
    assert AdapterConfig(rank=8, alpha=16).scale(8, 16.0) == 2.0  # Hu et al. 2021, section 4.1
    assert AdapterConfig(rank=64, alpha=16, rslora=True).scale(64, 16.0) == 2.0  # Kalajdzievski 2023: 16 / 8
    assert AdapterConfig(rank=8).scale(8, None) == 2.0
