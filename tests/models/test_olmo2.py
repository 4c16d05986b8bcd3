"""What is OLMo 2's own: its blocks begin as nothing by the gains of the norms they end in."""

from __future__ import annotations

import torch

from groundup.models import build_model, config_for_size


@torch.no_grad()
def test_a_new_block_adds_nothing_and_all_its_matrices_are_there() -> None:
    model = build_model(config_for_size("d4", 500, 64, "olmo2", d_model=128, tie_embeddings=False))
    tokens = torch.arange(64)[None]
    stream = model.token_embedding(tokens)
    torch.testing.assert_close(model.trunk(tokens), stream * stream.square().mean(-1, keepdim=True).rsqrt())
    for name, matrix in model.parameter_roles()["matrices"]:
        assert matrix.std() > 0.03, name
