"""What is OLMo 2's own: it begins with quiet layers, though their outputs are normalised."""

from __future__ import annotations

import torch

from groundup.models import build_model, config_for_size


@torch.no_grad()
def test_what_the_layers_add_does_not_grow_with_depth() -> None:
    tokens = torch.arange(64)[None]
    for depth in ("d2", "d8"):
        model = build_model(config_for_size(depth, 500, 64, "olmo2", d_model=128, tie_embeddings=False))
        last: list[torch.Tensor] = []
        model.blocks[-1].register_forward_hook(lambda _module, _inputs, output, last=last: last.append(output))
        model.trunk(tokens)
        added = (last[0] - model.token_embedding(tokens)).square().mean().sqrt()
        assert 0.6 < float(added) < 1.4, "2 L outputs of size 1 / sqrt(2 L)"
