"""What rotary positions ask of a configuration."""

from __future__ import annotations

import pytest

from groundup.core.errors import GroundupError
from groundup.models import build_model, config_for_size


@pytest.mark.parametrize(
    ("architecture", "overrides", "words"),
    [
        ("llama", {"d_head": 7, "n_heads": 4}, "d_head 7 is odd"),
        ("phi3", {"rotary_share": 0.2}, "the part of d_head 16 that turns, 3 is odd"),
        ("gpt_neox", {"rotary_share": 0.05}, "the part of d_head 16 that turns, 0 is too few"),
        ("gpt_neox", {"rotary_share": 1.5}, "rotary_share"),
    ],
)
def test_pairs_are_needed(architecture: str, overrides: dict, words: str) -> None:
    with pytest.raises(GroundupError, match=words):
        config_for_size("d2", 50, 24, architecture, **({"d_model": 64, "d_head": 16} | overrides))


def test_the_share_that_turns() -> None:
    config = config_for_size("d2", 50, 24, "gpt_neox", d_model=64, d_head=16)
    (rotary,) = build_model(config).rotaries
    assert rotary.n_dims == 4
    phi3 = config_for_size("d2", 50, 24, "phi3", d_model=64, d_head=16, rotary_share=0.75)
    assert build_model(phi3).rotaries[0].n_dims == 12
