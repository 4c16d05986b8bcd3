"""A model in 8 bits reads and writes like the one it came from, nearly; what cannot be is left or refused."""

from __future__ import annotations

import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.generation.engine import generate_ids
from groundup.generation.sampling import SamplingSettings
from groundup.models import build_model, config_for_size
from groundup.models.layers.int8 import Int8Linear
from groundup.models.layers.linear import Linear
from groundup.models.quantize import quantize_int8


def models(name: str, **sizes: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A model away from its start, where some matrices are zero, and the same in 8 bits."""
    pair = []
    for _ in range(2):
        model = build_model(config_for_size("d2", 300, 64, name, **sizes), seed=1).eval()
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        pair.append(model)
    return pair[0], quantize_int8(pair[1])


@pytest.mark.parametrize("name", ["gpt2", "qwen3", "mamba"])
def test_logits_stay_close_and_writing_goes_on(name: str) -> None:
    plain, small = models(name, d_model=256 if name == "mamba" else 64)  # mamba has a map of width 256 / 16
    tokens = torch.randint(300, (2, 40), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        error = (small(tokens) - plain(tokens)).norm() / plain(tokens).norm()
    assert 1e-4 < error < 0.03
    written = generate_ids(small, [[5, 9, 200]], SamplingSettings(temperature=0, max_new_tokens=12))
    cacheless = generate_ids(small, [[5, 9, 200]], SamplingSettings(temperature=0, max_new_tokens=12), use_cache=False)
    assert written == cacheless
    kept = {name.rpartition(".")[2] for name, module in small.named_modules() if isinstance(module, Linear)}
    assert kept == set(small.read_apart)
    assert isinstance(small.head, Int8Linear)
    assert not any(parameter.requires_grad for parameter in small.parameters())


def test_a_width_the_kernel_cannot_read_stays_as_it_is() -> None:
    plain, small = models("gpt2", d_model=48, n_heads=3, d_ff=72)
    kept = [name for name, module in small.named_modules() if isinstance(module, Linear)]
    assert kept == ["blocks.0.feed_forward.down", "blocks.1.feed_forward.down"]
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        assert (small(tokens) - plain(tokens)).norm() / plain(tokens).norm() < 0.03


def test_a_model_without_a_single_usable_width_is_refused() -> None:
    with pytest.raises(GroundupError, match="no matrix of this gpt2 model can be kept in 8 bits"):
        models("gpt2", d_model=24, n_heads=3, d_ff=72)
