"""Adapters on bases in fewer bits: the gradient is that of the numbers the base has, and the memory is what is promised."""

from __future__ import annotations

import pytest
import torch

from groundup.adapters.bases import adapter_cost, keep_base_in
from groundup.adapters.config import AdapterConfig
from groundup.adapters.layers import AdaptedLinear, wide_weight
from groundup.adapters.lora import adapter_parameters, adapters_off, add_adapter, count_parameters
from groundup.adapters.merging import merge_adapter
from groundup.core.errors import GroundupError
from groundup.models import LanguageModel, architecture_names, build_model, config_for_size
from groundup.models.layers.linear import Linear
from groundup.models.layers.nf4 import NF4Linear

pytest.importorskip("bitsandbytes")
NARROW = ("int8", "int4")


def model(name: str = "llama") -> LanguageModel:
    heads = {} if name in ("rnn", "lstm", "gru", "mamba", "mamba2") else {"d_head": 16}
    found = build_model(config_for_size("d2", 64, 32, name, d_model=64, **heads), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return found


def tokens() -> torch.Tensor:
    return torch.randint(64, (4, 24), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("precision", NARROW)
@pytest.mark.parametrize("name", architecture_names())
def test_every_architecture_is_kept_near_and_trains(name: str, precision: str) -> None:
    plain = model(name).set_dtype(torch.bfloat16)
    found = keep_base_in(model(name), precision)
    with torch.no_grad():
        before, expected = found(tokens()), plain(tokens()).float()
        assert float((before.float() - expected).norm() / expected.norm()) < (0.05 if precision == "int8" else 0.6)
        add_adapter(found, AdapterConfig(rank=2))
        assert torch.equal(found(tokens()), before), "the first output is the base's to the bit"
    loss = torch.nn.functional.cross_entropy(found(tokens()).float().flatten(0, 1), tokens().flatten())
    loss.backward()
    assert all(
        parameter.grad is not None for name, parameter in adapter_parameters(found).items() if name.endswith(".b")
    )


@pytest.mark.parametrize("precision", NARROW)
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_gradients_are_those_of_the_widened_base(precision: str, kind: str) -> None:
    found = keep_base_in(model(), precision)
    found.compute_dtype = torch.float32
    widened = model().requires_grad_(False)
    for name, module in list(found.named_modules()):
        if not isinstance(module, torch.nn.Linear) and hasattr(module, "wide"):
            widened.get_submodule(name).weight = torch.nn.Parameter(wide_weight(module), requires_grad=False)
        elif isinstance(module, Linear) or name.endswith("norm") or name == "token_embedding":
            widened.get_submodule(name).weight = torch.nn.Parameter(module.weight.float(), requires_grad=False)  # type: ignore
    gradients = []
    for each in (found, widened):
        add_adapter(each, AdapterConfig(rank=2, kind=kind), seed=5)  # type: ignore[arg-type]
        with torch.no_grad():
            for parameter in adapter_parameters(each).values():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(6)))
        each(tokens()).square().mean().backward()
        gradients.append({name: parameter.grad for name, parameter in adapter_parameters(each).items()})
    for name, gradient in gradients[0].items():
        assert gradient is not None
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-3, atol=1e-5), name


@pytest.mark.parametrize(("precision", "most"), [("fp32", 4.0), ("bf16", 2.0), ("int8", 1.05), ("int4", 0.6)])
def test_bytes_of_a_block_s_numbers(precision: str, most: float) -> None:
    found = keep_base_in(model(), precision)
    matrices = sum(p.numel() for name, p in model().named_parameters() if name.startswith("blocks.") and p.ndim == 2)
    held = [*found.blocks.parameters(), *found.blocks.buffers()]
    vectors = sum(p.numel() * p.element_size() for p in found.blocks.parameters() if p.ndim == 1)
    assert sum(each.numel() * each.element_size() for each in held) - vectors <= most * matrices
    add_adapter(found, AdapterConfig(rank=2))
    cost = adapter_cost(found)
    assert cost.n_parameters - cost.n_trained == sum(p.numel() for p in model().parameters())
    assert cost.n_trained == count_parameters(found)[0] and cost.file_bytes == 4 * cost.n_trained


def test_nothing_wide_is_kept_for_the_backward_pass() -> None:
    for precision in NARROW:
        found = add_adapter(keep_base_in(model(), precision), AdapterConfig(rank=2))
        kept: list[torch.Tensor] = []

        def keep(tensor: torch.Tensor, kept: list[torch.Tensor] = kept) -> torch.Tensor:
            kept.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            found.trunk(tokens())
        shapes = {(layer.adapters["default"].b.shape[0], 64) for layer in found.modules()
                  if isinstance(layer, AdaptedLinear)}  # fmt: skip
        assert not [t for t in kept if tuple(t.shape) in shapes and t.is_floating_point() and t.shape[0] > 96]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(GroundupError, match="known: bf16, fp32, int4, int8"):
        keep_base_in(model(), "int5")
    found = add_adapter(keep_base_in(model(), "int4"), AdapterConfig(rank=2))
    with pytest.raises(GroundupError, match="would lose what the adapter learned"):
        merge_adapter(found)
    with adapters_off(found), torch.no_grad():
        assert found(tokens()).isfinite().all()


@pytest.mark.parametrize("precision", NARROW)
def test_a_base_under_an_adapter_is_put_into_fewer_bits_too(precision: str) -> None:
    after = keep_base_in(add_adapter(model(), AdapterConfig(rank=2, kind="dora")), precision)
    before = add_adapter(keep_base_in(model(), precision), AdapterConfig(rank=2, kind="dora"))
    learning = {name for name, parameter in after.named_parameters() if parameter.requires_grad}
    assert learning == set(adapter_parameters(after)) and all(
        p.dtype == torch.float32 for p in adapter_parameters(after).values()
    )
    with torch.no_grad(), adapters_off(after), adapters_off(before):
        assert torch.equal(after(tokens()), before(tokens()))


def test_the_scales_of_4_bits_survive_a_change_of_dtype() -> None:
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    layer = NF4Linear(weight)
    before = layer.wide()
    assert torch.equal(layer.to(torch.bfloat16).wide(), before)
    assert 0.05 < float((before - weight).norm() / weight.norm()) < 0.12
