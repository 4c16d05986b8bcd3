"""Surgery, against the formulas written out; the promises on every architecture are in tests/contracts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from groundup.adapters.config import AdapterConfig
from groundup.adapters.layers import AdaptedLinear
from groundup.adapters.lora import adapter_names, adapter_parameters, add_adapter, count_parameters, use_adapters
from groundup.core.errors import GroundupError
from groundup.models import LanguageModel, build_model, config_for_size


def model(name: str = "llama", **overrides: int) -> LanguageModel:
    return build_model(config_for_size("d2", 64, 16, name, d_model=64, d_head=16, **overrides), seed=1)


def layer(kind: str, **settings: float) -> AdaptedLinear:
    found = add_adapter(model(), AdapterConfig(kind=kind, rank=4, **settings)).blocks[1].attention.query  # type: ignore
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in found.adapters["default"].parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return found


def test_lora_is_the_formula() -> None:
    found, x = layer("lora", alpha=12), torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(5))
    path = found.adapters["default"]
    expected = x @ (found.base.weight + 12 / 4 * path.b @ path.a).T
    assert torch.allclose(found(x), expected, atol=1e-5)


def test_dora_is_the_formula_and_its_gradient_takes_the_length_as_a_constant() -> None:
    found, x = layer("dora"), torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(5))
    path = found.adapters["default"]
    turned = found.base.weight + 2 * path.b @ path.a
    expected = x @ (path.magnitude[:, None] * turned / turned.norm(dim=1, keepdim=True).detach()).T
    got = found(x)
    assert torch.allclose(got, expected, atol=1e-5)
    names = ("a", "b", "magnitude")
    parameters = [getattr(path, name) for name in names]
    for mine, theirs in zip(
        torch.autograd.grad(got.square().sum(), parameters),
        torch.autograd.grad(expected.square().sum(), parameters),
        strict=True,
    ):
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-3)


def test_targets_by_our_names_and_the_published_ones() -> None:
    def adapted(*patterns: str) -> set[str]:
        own = adapter_parameters(add_adapter(model(), AdapterConfig(targets=patterns)))
        return {name.removesuffix(".adapters.default.a") for name in own if name.endswith(".a")}

    both = {f"blocks.{i}.attention.{part}" for i in (0, 1) for part in ("query", "value")}
    assert adapted("query", "value") == adapted("q_proj", "v_proj") == both
    assert adapted("model.layers.1.*") == {name for name in adapted("all-linear") if name.startswith("blocks.1.")}
    assert len(adapted("attention")) == 8 and len(adapted("feed-forward")) == 6


def test_ranks_and_alphas_by_pattern() -> None:
    config = AdapterConfig(rank=4, alpha=8, rank_pattern={"query": 2}, alpha_pattern={"blocks.1.*": 32})
    found = add_adapter(model(), config)
    paths = {
        name: found.get_submodule(f"{name}.adapters.default")
        for name in ("blocks.0.attention.query", "blocks.1.attention.query", "blocks.1.attention.value")
    }
    assert [(path.rank, path.scale) for path in paths.values()] == [(2, 4.0), (2, 16.0), (4, 8.0)]


def test_what_means_nothing_is_refused() -> None:
    with pytest.raises(GroundupError, match=r"did you mean 'query'.*q_proj"):
        add_adapter(model(), AdapterConfig(targets=("qurey",)))
    with pytest.raises(GroundupError, match="rank_pattern"):
        add_adapter(model(), AdapterConfig(targets=("query",), rank_pattern={"value": 2}))
    with pytest.raises(GroundupError, match="0 to 63"):
        add_adapter(model(), AdapterConfig(new_tokens=(64,)))
    once = add_adapter(model())
    with pytest.raises(GroundupError, match="already"):
        add_adapter(once)
    with pytest.raises(GroundupError, match="did you mean 'default'"):
        use_adapters(once, "defualt")


def test_a_seed_means_the_same_adapter() -> None:
    first, same, other = (adapter_parameters(add_adapter(model(), seed=seed)) for seed in (3, 3, 4))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_second_adapter_leaves_the_first_as_it_is_and_frozen() -> None:
    found = add_adapter(add_adapter(model(), name="one"), AdapterConfig(rank=2), name="two")
    assert adapter_names(found) == ("one", "two")
    assert not any(parameter.requires_grad for parameter in adapter_parameters(found, "one").values())
    assert count_parameters(found)[0] == sum(p.numel() for p in adapter_parameters(found, "two").values())


def test_no_gradient_reaches_a_frozen_matrix_and_little_is_kept_for_the_backward_pass() -> None:
    found = add_adapter(model(), AdapterConfig(rank=2, targets=("query",)))
    kept: list[torch.Tensor] = []
    tokens = torch.arange(16)[None].expand(8, -1)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: (kept.append(tensor), tensor)[1], lambda tensor: tensor
    ):
        trunk = found.trunk(tokens)
    frozen = {p.data_ptr() for p in found.parameters() if not p.requires_grad}
    wide = [t for t in kept if t.shape[-1] == 64 and t.numel() == 8 * 16 * 64 and t.data_ptr() not in frozen]
    full = model()
    also: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: (also.append(tensor), tensor)[1], lambda tensor: tensor
    ):
        full.trunk(tokens)
    assert sum(t.numel() for t in kept) < 0.75 * sum(t.numel() for t in also)
    assert wide and F.mse_loss(trunk, torch.zeros_like(trunk)).requires_grad
