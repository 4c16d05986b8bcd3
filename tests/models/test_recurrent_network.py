"""What the recurrent architectures share: their beginning, their memory and their files."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from groundup.models import build_model, config_for_size, known_elsewhere, model_types

NAMES = ("rnn", "lstm", "gru")


@pytest.mark.parametrize("name", NAMES)
def test_no_other_tool_knows_them(name: str) -> None:
    assert not known_elsewhere(name)
    assert model_types()[f"groundup_{name}"] == name
    assert known_elsewhere("mamba")


@pytest.mark.parametrize(("name", "n_gates", "n_memories"), [("rnn", 1, 1), ("lstm", 4, 2), ("gru", 3, 1)])
def test_sizes_by_the_dial(name: str, n_gates: int, n_memories: int) -> None:
    config = config_for_size("d4", 1000, 128, name)
    assert config.matrix_parameters() == 4 * 256 * 256 * (2 * n_gates + 1)
    assert config.vector_parameters() == 4 * (256 + 2 * n_gates * 256) + 256
    assert config.state_bytes(10) == config.state_bytes(10_000) == 4 * n_memories * 256 * 4
    assert config.max_length is None


@torch.no_grad()
def test_a_layer_of_a_model_is_torchs_lstm() -> None:
    model = build_model(config_for_size("d1", 50, 16, "lstm"))
    theirs = nn.LSTM(64, 64, batch_first=True)
    layer = model.blocks[0].cell
    for parameter, weight in zip(layer.weights, theirs.all_weights[0], strict=True):
        weight.copy_(parameter)
    x = torch.randn(2, 9, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer.run(x)[0], theirs(x)[0])
