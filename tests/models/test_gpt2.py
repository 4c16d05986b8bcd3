"""What is GPT-2's own: its initialisation and its dropout."""

from __future__ import annotations

import pytest
import torch

from groundup.models import build_model, config_for_size


def test_initialisation_is_that_of_the_paper() -> None:
    model = build_model(config_for_size("d4", 1000, 64, "gpt2"))
    spreads = {name: p.std().item() for name, p in model.named_parameters() if p.ndim == 2}
    for name, spread in spreads.items():
        into_stream = name.endswith(("attention.output.weight", "feed_forward.down.weight"))
        assert spread == pytest.approx(0.02 / 8**0.5 if into_stream else 0.02, rel=0.03), name
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            assert (parameter == (0.0 if name.endswith("bias") else 1.0)).all(), name


def test_dropout_works_in_training_only() -> None:
    model = build_model(config_for_size("d1", 50, 16, "gpt2", dropout=0.3))
    tokens = torch.arange(16)[None]
    torch.manual_seed(0)
    assert not torch.equal(model.train()(tokens), model(tokens))
    assert torch.equal(model.eval()(tokens), model(tokens))
