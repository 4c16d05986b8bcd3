"""What is Llama's own: which published format a configuration goes into, windows, and layers without positions."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.models import LanguageModel, architecture, build_model, config_for_size

LLAMA = architecture("llama")


def small(**overrides: Any) -> Any:
    return config_for_size("d2", 50, 24, "llama", d_model=32, d_head=8, **overrides)


def scattered(**overrides: Any) -> LanguageModel:
    model = build_model(small(**overrides)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return model


@pytest.mark.parametrize(
    ("overrides", "model_type"),
    [
        ({}, "llama"),
        ({"attention_bias": True, "feed_forward_bias": True}, "llama"),
        ({"window": 5}, "mistral"),
        ({"unrotated_layers": [1]}, "smollm3"),
    ],
)
def test_each_goes_into_the_format_that_has_it(overrides: dict, model_type: str) -> None:
    assert LLAMA.to_hugging_face(small(**overrides))["model_type"] == model_type


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"window": 5, "attention_bias": True}, "window and biases do not go together"),
        ({"window": 5, "unrotated_layers": [0]}, "window and unrotated_layers do not go together"),
        ({"unrotated_layers": [2]}, "there are 2 layers"),
    ],
)
def test_what_no_format_has_is_refused(overrides: dict, words: str) -> None:
    with pytest.raises(GroundupError, match=words):
        small(**overrides)


@torch.no_grad()
def test_a_token_sees_as_far_as_windows_reach() -> None:
    """Two layers with a window of 5 pass on what lies up to 8 tokens back."""
    model = scattered(window=5)
    tokens = torch.arange(20)[None]
    changed = tokens.clone()
    changed[0, 3] += 1
    moved = (model(tokens) - model(changed)).abs().amax(dim=(0, 2)) > 1e-6
    assert moved.nonzero().flatten().tolist() == list(range(3, 12))


@torch.no_grad()
def test_without_positions_the_order_of_what_came_before_does_not_matter() -> None:
    tokens = torch.tensor([[3, 9, 27, 31, 8]])
    swapped = tokens[:, [1, 0, 2, 3, 4]]
    turned, unturned = scattered(n_layers=1), scattered(n_layers=1, unrotated_layers=[0])
    assert (turned(tokens) - turned(swapped))[0, -1].abs().max() > 1e-3
    torch.testing.assert_close(unturned(tokens)[0, -1], unturned(swapped)[0, -1], atol=1e-5, rtol=0)
