"""A packed model gives the logits of the plain one and writes the same texts."""

from __future__ import annotations

import pytest
import torch

from groundup.generation.engine import generate_ids
from groundup.generation.sampling import SamplingSettings
from groundup.models import LanguageModel, architecture_names, build_model, config_for_size
from groundup.models.layers.linear import Linear
from groundup.models.layers.packed import PackedLinear, can_pack
from groundup.models.packing import pack


def opinionated(name: str, dtype: torch.dtype) -> LanguageModel:
    """A model away from its start, where some matrices are zero."""
    model = build_model(config_for_size("d2", 301, 64, name, d_model=64), seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.set_dtype(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", architecture_names())
def test_logits_stay_and_so_does_what_is_written(name: str, dtype: torch.dtype) -> None:
    if not can_pack(dtype):
        pytest.skip(f"torch has no packed products for {dtype} here")
    plain, packed = opinionated(name, dtype), pack(opinionated(name, dtype))
    tokens = torch.randint(301, (2, 40), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = plain(tokens)
        error = (packed(tokens) - expected).norm() / expected.norm()
    assert error < (1e-5 if dtype == torch.float32 else 1e-2)
    if dtype == torch.float32:
        settings = SamplingSettings(temperature=0, max_new_tokens=12)
        prompts = [[5, 9, 200], [7]]
        assert generate_ids(packed, prompts, settings) == generate_ids(plain, prompts, settings)


def test_every_plain_matrix_is_packed_and_nothing_is_trained_any_more() -> None:
    if not can_pack(torch.float32):
        pytest.skip("torch has no packed products here")
    packed = pack(opinionated("gpt2", torch.float32))
    assert not [module for module in packed.modules() if isinstance(module, Linear)]
    assert isinstance(packed.head, PackedLinear)
    assert torch.equal(packed.head_weight, packed.token_embedding.weight)
    assert not any(parameter.requires_grad for parameter in packed.parameters())


def test_where_it_cannot_be_packed_the_model_stays_as_it_is() -> None:
    model = pack(opinionated("gpt2", torch.float32).set_dtype(torch.float64))
    assert model.head is None
    assert [module for module in model.modules() if isinstance(module, Linear)]
