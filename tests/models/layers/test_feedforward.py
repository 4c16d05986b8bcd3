"""Gated feed-forward layers against their formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from groundup.models.layers.feedforward import GeGLU, SwiGLU

KINDS = {
    "silu": (lambda: SwiGLU(6, 10), F.silu),
    "gelu-tanh": (lambda: GeGLU(6, 10), lambda x: F.gelu(x, approximate="tanh")),
    "gelu-exact": (lambda: GeGLU(6, 10, exact=True), F.gelu),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_gate_multiplies_the_other_widening(kind: str) -> None:
    make, activation = KINDS[kind]
    layer, x = make(), 3 * torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    for seed, parameter in enumerate(layer.parameters()):
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(seed))
    wanted = (activation(x @ layer.gate.weight.T) * (x @ layer.up.weight.T)) @ layer.down.weight.T
    torch.testing.assert_close(layer(x), wanted)
