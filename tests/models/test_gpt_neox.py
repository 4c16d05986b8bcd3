"""What is GPT-NeoX's own: parallel layers, and dropout."""

from __future__ import annotations

import torch

from groundup.models import build_model, config_for_size


@torch.no_grad()
def test_parallel_layers_do_not_read_each_other() -> None:
    for parallel in (True, False):
        model = build_model(config_for_size("d1", 50, 16, "gpt_neox", d_model=32, parallel=parallel))
        for parameter in model.parameters():
            parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
        seen: list[torch.Tensor] = []
        model.blocks[0].feed_forward_norm.register_forward_hook(
            lambda _m, inputs, _out, seen=seen: seen.append(inputs[0])
        )
        tokens = torch.arange(16)[None]
        model(tokens)
        assert torch.equal(seen[0], model.token_embedding(tokens)) is parallel


def test_dropout_works_in_training_only() -> None:
    for name in ("gpt_neox", "phi3"):
        model = build_model(config_for_size("d1", 50, 16, name, dropout=0.3))
        tokens = torch.arange(16)[None]
        torch.manual_seed(0)
        assert not torch.equal(model.train()(tokens), model(tokens))
        assert torch.equal(model.eval()(tokens), model(tokens))
