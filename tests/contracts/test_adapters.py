"""What adapters promise on every architecture; a new file in groundup/models is held to it by itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from groundup.adapters.config import AdapterConfig
from groundup.adapters.lora import (
    adapter_parameters,
    adapters_off,
    add_adapter,
    count_parameters,
    remove_adapters,
    use_adapters,
)
from groundup.adapters.merging import merge_adapter, unmerge_adapter
from groundup.adapters.targets import left_out, linear_names
from groundup.core.errors import GroundupError
from groundup.models import (
    AttentionConfig,
    LanguageModel,
    architecture,
    architecture_names,
    build_model,
    config_for_size,
)

VOCAB, CONTEXT = 96, 24
KINDS = {"lora": {}, "dora": {"kind": "dora"}, "rslora": {"rslora": True, "alpha": 4.0}}


def base(name: str) -> LanguageModel:
    heads = {"d_head": 16} if issubclass(architecture(name).Config, AttentionConfig) else {}
    model = build_model(config_for_size("d2", VOCAB, CONTEXT, name, d_model=64, **heads), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    # Frozen as it will be: torch's GRU takes another kernel, which rounds otherwise, when a gradient may be asked for.
    return model.requires_grad_(False).eval()


def tokens() -> Tensor:
    return torch.randint(VOCAB, (3, CONTEXT), generator=torch.Generator().manual_seed(3))


def loss(model: LanguageModel) -> Tensor:
    return F.cross_entropy(model(tokens()[:, :-1]).float().flatten(0, 1), tokens()[:, 1:].flatten())


def trained(model: LanguageModel, n_steps: int = 8) -> list[float]:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(n_steps):
        optimizer.zero_grad()
        now = loss(model.train())
        now.backward()
        optimizer.step()
        losses.append(float(now.detach()))
    model.eval()
    return losses


def frozen(model: LanguageModel) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}


@pytest.fixture(params=architecture_names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_the_first_output_is_the_base_to_the_bit(name: str, kind: str, dtype: torch.dtype) -> None:
    model = base(name).set_dtype(dtype)
    before = model(tokens())
    add_adapter(model, AdapterConfig(rank=4, **KINDS[kind]))
    assert all(parameter.dtype == torch.float32 for parameter in adapter_parameters(model).values())
    assert torch.equal(model(tokens()), before)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_and_nothing_else_moves(name: str, kind: str) -> None:
    model = base(name)
    n_base = sum(parameter.numel() for parameter in model.parameters())
    with torch.no_grad():
        before = model(tokens())
    add_adapter(model, AdapterConfig(rank=4, **KINDS[kind]))
    kept = frozen(model)
    own = adapter_parameters(model)
    assert count_parameters(model) == (
        sum(p.numel() for p in own.values()),
        n_base + sum(p.numel() for p in own.values()),
    )
    assert {name for name, p in model.named_parameters() if p.requires_grad} == set(own)
    start = {name: p.detach().clone() for name, p in own.items()}
    losses = trained(model)
    assert losses[-1] < losses[0] - 0.08
    assert all(torch.equal(kept[name], value) for name, value in frozen(model).items())
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)
    assert not any(torch.equal(start[name], p) for name, p in own.items()), "every part of the adapter learned"
    with torch.no_grad(), adapters_off(model):
        assert torch.equal(model(tokens()), before)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_merged_computes_the_same_and_unmerged_is_the_base_to_the_bit(name: str, kind: str) -> None:
    model = add_adapter(base(name), AdapterConfig(rank=4, **KINDS[kind]))
    with torch.enable_grad():
        trained(model, 3)
    adapted, kept = model(tokens()), frozen(model)
    with adapters_off(model):
        plain = model(tokens())
    assert float((adapted - plain).abs().max()) > 1e-3
    merge_adapter(model)
    assert float((model(tokens()) - adapted).abs().max()) < 2e-4
    with pytest.raises(GroundupError, match="merged"):
        use_adapters(model, None)
    unmerge_adapter(model)
    assert all(torch.equal(kept[name], value) for name, value in frozen(model).items())
    assert torch.equal(model(tokens()), adapted)
    remove_adapters(merge_adapter(model))
    assert float((model(tokens()) - adapted).abs().max()) < 2e-4
    assert model.state_dict().keys() == base(name).state_dict().keys()


@torch.no_grad()
def test_every_row_has_the_adapter_of_its_name(name: str) -> None:
    model = base(name)
    for seed, adapter in enumerate(("one", "two")):
        add_adapter(model, AdapterConfig(rank=4, kind="dora" if seed else "lora"), name=adapter, seed=seed)
        for parameter in adapter_parameters(model, adapter).values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    alone = {}
    for adapter in ("one", "two", "base"):
        use_adapters(model, adapter)
        alone[adapter] = model(tokens())
    use_adapters(model, ["two", "base", "one"])
    together = model(tokens())
    for row, adapter in enumerate(("two", "base", "one")):
        assert float((together[row] - alone[adapter][row]).abs().max()) < 2e-5
    assert float((alone["one"] - alone["two"]).abs().max()) > 1e-3


def test_every_matrix_is_adapted_or_named_with_a_reason(name: str) -> None:
    model = base(name)
    matrices = {
        key.removesuffix(".weight")
        for key, parameter in model.named_parameters()
        if key.startswith("blocks.") and parameter.ndim >= 2 and model.is_matrix(key, parameter)
    }
    apart = left_out(model)
    assert set(linear_names(model)) | set(apart) == matrices
    for key in apart:
        with pytest.raises(GroundupError, match="no adapter goes on"):
            add_adapter(base(name), AdapterConfig(targets=(key,)))


def test_trained_token_rows_change_those_tokens_alone(name: str) -> None:
    model = base(name)
    with torch.no_grad():
        before, table = model(tokens()), model.token_embedding.weight.clone()
    add_adapter(
        model,
        AdapterConfig(
            rank=4, targets=("output",) if name in ("rnn", "lstm", "gru") else ("all-linear",), new_tokens=(5, 9)
        ),
    )
    with torch.no_grad():
        assert torch.equal(model(tokens()), before)
    trained(model, 3)
    with torch.no_grad():
        moved = (model.token_embedding.weight != table).any(1).nonzero()[:, 0].tolist()
        assert moved == [5, 9]
        logits = model(tokens())
        merge_adapter(model)
        assert float((model(tokens()) - logits).abs().max()) < 2e-4
        unmerge_adapter(model)
        with adapters_off(model):
            assert torch.equal(model(tokens()), before)
