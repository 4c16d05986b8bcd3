"""Fused matrices are the matrices side by side."""

from __future__ import annotations

import torch

from groundup.models import build_model, config_for_size
from groundup.models.layers.feedforward import FusedSwiGLU, SwiGLU


@torch.no_grad()
def test_phi3_is_llama_with_fused_matrices() -> None:
    sizes = {"d_model": 32, "d_head": 8, "n_kv_heads": 2, "tie_embeddings": False, "norm_eps": 1e-5}
    llama, phi3 = (build_model(config_for_size("d2", 50, 24, name, **sizes), seed=3) for name in ("llama", "phi3"))
    weights = llama.state_dict()
    for layer in range(2):
        attention, feed_forward = (f"blocks.{layer}.{part}" for part in ("attention", "feed_forward"))
        parts = [weights.pop(f"{attention}.{part}.weight") for part in ("query", "key", "value")]
        weights[f"{attention}.query_key_value.weight"] = torch.cat(parts)
        parts = [weights.pop(f"{feed_forward}.{part}.weight") for part in ("gate", "up")]
        weights[f"{feed_forward}.gate_up.weight"] = torch.cat(parts)
    weights = {name: weight + 0.1 for name, weight in weights.items()}
    phi3.load_state_dict(weights)
    for name, parameter in llama.named_parameters():
        parameter.add_(0.1)
        assert torch.isfinite(parameter).all(), name
    tokens = torch.arange(24)[None]
    torch.testing.assert_close(phi3(tokens), llama(tokens), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_gate_comes_first() -> None:
    plain, fused = SwiGLU(6, 10), FusedSwiGLU(6, 10)
    for parameter in plain.parameters():
        parameter.normal_()
    fused.gate_up.weight.copy_(torch.cat((plain.gate.weight, plain.up.weight)))
    fused.down.weight.copy_(plain.down.weight)
    x = torch.randn(3, 6)
    torch.testing.assert_close(fused(x), plain(x))
