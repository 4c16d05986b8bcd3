"""What is Qwen3's own: its initialisation."""

from __future__ import annotations

import pytest
import torch

from groundup.models import build_model, config_for_size


@pytest.mark.parametrize("tied", [True, False])
def test_a_new_model_is_its_embedding(tied: bool) -> None:
    model = build_model(config_for_size("d2", 500, 64, tie_embeddings=tied))
    tokens = torch.arange(64)[None]
    with torch.no_grad():
        hidden = model.trunk(tokens)
        stream = model.token_embedding(tokens)
        normalised = stream * stream.square().mean(-1, keepdim=True).rsqrt()
    torch.testing.assert_close(hidden, normalised * (128**-0.5 if tied else 1.0), rtol=1e-3, atol=1e-5)


def test_tied_logits_begin_as_cosines() -> None:
    model = build_model(config_for_size("d2", 500, 64, tie_embeddings=True))
    tokens = torch.arange(64)
    with torch.no_grad():
        logits, rows = model(tokens[None])[0], model.token_embedding.weight
        cosines = torch.nn.functional.normalize(rows[tokens], dim=-1) @ rows.T
    torch.testing.assert_close(logits, cosines, rtol=1e-3, atol=1e-4)
    assert logits.abs().max() < 1.5


@torch.no_grad()
def test_matrices_keep_the_scale_of_what_passes_through() -> None:
    model = build_model(config_for_size("d4", 500, 64))
    x = torch.randn(4096, 256, generator=torch.Generator().manual_seed(0))
    for name, matrix in model.parameter_roles()["matrices"]:
        scale = float((x[:, : matrix.shape[1]] @ matrix.T).std()) if matrix.shape[1] == 256 else float(matrix.std())
        into_stream = name.endswith(("output.weight", "down.weight"))
        assert scale == pytest.approx(0.0 if into_stream else 1.0, abs=0.05), name
