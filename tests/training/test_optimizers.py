"""Muon against PyTorch's and against the singular value decomposition; AdamW against its formula; state to and fro."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.training.objectives import next_token_loss
from groundup.training.optimizers import (
    POLAR_EXPRESS,
    QUINTIC,
    Muon,
    Optimizer,
    OptimizerSettings,
    orthogonalize,
    shape_factor,
)

SHAPES = [(8, 8), (8, 8), (16, 8), (8, 16), (8, 16), (4, 32)]


def matrices(seed: int = 0) -> list[tuple[str, torch.nn.Parameter]]:
    generator = torch.Generator().manual_seed(seed)
    return [(f"m{i}", torch.nn.Parameter(torch.randn(shape, generator=generator))) for i, shape in enumerate(SHAPES)]


def test_muon_takes_the_steps_of_pytorchs():
    ours, theirs = matrices(), matrices()
    settings = OptimizerSettings(0.02, 0, 0, 0, weight_decay=0.1, momentum=0.95, polynomials=(QUINTIC,) * 5)
    muon = Muon(ours, settings, dtype=torch.bfloat16)
    reference = torch.optim.Muon([p for _, p in theirs], lr=0.02, weight_decay=0.1, momentum=0.95, ns_steps=5)
    for step in range(3):
        for (_, a), (_, b) in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=torch.Generator().manual_seed(step))
            b.grad = a.grad.clone()
        muon.step()
        reference.step()
    for (name, a), (_, b), (_, start) in zip(ours, theirs, matrices(), strict=True):
        moved = (b - start).norm()
        assert (a - b).norm() < 0.03 * moved, name  # bf16 on both sides, normalised in fp32 here and in bf16 there


def test_five_steps_of_jordan_orthogonalise():
    stack = torch.randn(5, 12, 30, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(orthogonalize(stack, (QUINTIC,) * 5, torch.float32))
    assert singular.min() > 0.6
    assert singular.max() < 1.3


def test_three_steps_of_polar_express_lift_what_is_small():
    """They are the first of a longer series: they do not end at 1, but the smallest is lifted most."""
    stack = torch.zeros(1, 3, 3)
    stack[0] = torch.diag(torch.tensor([0.6, 0.06, 0.006]))
    singular = torch.linalg.svdvals(orthogonalize(stack, POLAR_EXPRESS, torch.float32))[0]
    assert singular.max() < 2.0
    assert singular.min() > 0.3  # it was a hundredth of the largest


def test_an_orthogonalised_matrix_keeps_its_directions():
    matrix = torch.randn(1, 12, 30, generator=torch.Generator().manual_seed(0))
    u, _, vt = torch.linalg.svd(matrix[0], full_matrices=False)
    core = u.T @ orthogonalize(matrix, (QUINTIC,) * 5, torch.float32)[0] @ vt.T
    assert (core - core.diag().diag()).abs().max() < 1e-4


def test_matrices_of_zero_gradient_stay_where_they_are():
    assert orthogonalize(torch.zeros(2, 3, 4), POLAR_EXPRESS, torch.float32).abs().max() == 0


def test_a_tall_weight_moves_more_and_a_wide_one_does_not():
    assert shape_factor(16, 4) == 2.0  # [n_out, n_in], as torch keeps a linear layer's weight
    assert shape_factor(4, 16) == 1.0
    assert shape_factor(8, 8) == 1.0


def test_the_size_of_a_step_by_shape():
    named = matrices()
    before = [p.detach().clone() for _, p in named]
    for _, p in named:
        p.grad = torch.randn_like(p)
    Muon(named, OptimizerSettings(0.1, 0, 0, 0, polynomials=(QUINTIC,) * 12)).step()
    for (_, p), old in zip(named, before, strict=True):
        largest = torch.linalg.matrix_norm(p.detach() - old, ord=2).item()
        assert 0.1 * 0.6 < largest / max(1, p.shape[0] / p.shape[1]) ** 0.5 < 0.1 * 1.3


def test_stacks_are_cut_without_changing_a_step(monkeypatch):
    results = []
    for elements in (1, 1 << 20):
        monkeypatch.setattr("groundup.training.optimizers.STACK_ELEMENTS", elements)
        named = matrices()
        for _, p in named:
            p.grad = torch.sin(torch.arange(p.numel()).float()).view_as(p)
        Muon(named, OptimizerSettings(0.1, 0, 0, 0)).step()
        results.append([p.detach() for _, p in named])
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("elements", [1, 1 << 20])
def test_a_stack_of_experts_moves_as_its_matrices_would_alone(monkeypatch, elements):
    monkeypatch.setattr("groundup.training.optimizers.STACK_ELEMENTS", elements)
    generator = torch.Generator().manual_seed(0)
    # Two shapes that lie differently but share a stack, and a matrix of the same shape that does not.
    stacks = [
        ("tall", torch.randn(3, 16, 8, generator=generator)),
        ("wide", torch.randn(3, 8, 16, generator=generator)),
    ]
    stacks += [("matrix", torch.randn(8, 16, generator=generator))]
    together = [(name, torch.nn.Parameter(tensor.clone())) for name, tensor in stacks]
    apart = [
        (f"{name}{i}", torch.nn.Parameter(matrix.clone()))
        for name, tensor in stacks
        for i, matrix in enumerate(tensor if tensor.ndim == 3 else tensor[None])
    ]
    settings = OptimizerSettings(0.1, 0, 0, 0, weight_decay=0.1)
    one, other = Muon(together, settings), Muon(apart, settings)
    for step in range(3):
        for _, parameter in together:
            parameter.grad = torch.sin(torch.arange(parameter.numel()) * (step + 1.0)).view_as(parameter)
        gradients = [g for _, p in together for g in (p.grad if p.ndim == 3 else p.grad[None])]
        for (_, parameter), gradient in zip(apart, gradients, strict=True):
            parameter.grad = gradient.clone()
        one.step()
        other.step()
    matrices = [m for _, p in together for m in (p if p.ndim == 3 else p[None])]
    for matrix, (name, parameter) in zip(matrices, apart, strict=True):
        torch.testing.assert_close(matrix, parameter, atol=1e-5, rtol=1e-5, msg=name)
    state = one.state_tensors()
    assert {name: tuple(t.shape) for name, t in state.items()} == {
        "tall.momentum": (3, 8, 16),
        "wide.momentum": (3, 8, 16),
        "matrix.momentum": (8, 16),
    }
    for i in range(3):
        torch.testing.assert_close(state["tall.momentum"][i], other.state_tensors()[f"tall{i}.momentum"])


def one_step(model, settings, scale=1.0):
    optimizer = Optimizer(model, settings)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step(scale)
    return optimizer


def test_adamw_moves_each_role_by_its_rate_and_decays_matrices_only(tiny_model):
    model, start = tiny_model(tie_embeddings=False), tiny_model(tie_embeddings=False)
    old = dict(start.named_parameters())
    one_step(model, OptimizerSettings(0.1, 0.2, 0.3, 0.4, matrices="adamw", weight_decay=0.5), scale=0.5)
    rates = {"matrices": 0.1, "embedding": 0.2, "head": 0.3, "vectors": 0.4}
    for role, named in model.parameter_roles().items():
        assert named, role
        for name, parameter in named:
            # Adam's first step is the sign of the gradient, whatever its size (Kingma and Ba 2015, section 2.1).
            decayed = old[name] * (1 - 0.5 * rates[role] * (0.5 if role == "matrices" else 0.0))
            expected = decayed - 0.5 * rates[role] * parameter.grad.sign()
            torch.testing.assert_close(parameter.detach(), expected.detach(), atol=1e-4, rtol=1e-4)


def test_muon_takes_the_matrices_and_leaves_the_rest_to_adamw(tiny_model, settings):
    model = tiny_model(tie_embeddings=False)
    names = set(one_step(model, settings).state_tensors())
    roles = model.parameter_roles()
    assert {name for name in names if name.endswith(".momentum")} == {f"{n}.momentum" for n, _ in roles["matrices"]}
    assert {name for name in names if name.endswith(".exp_avg")} == {
        f"{n}.exp_avg" for role in ("embedding", "head", "vectors") for n, _ in roles[role]
    }


@pytest.mark.parametrize("matrices", ["muon", "adamw"])
def test_a_state_put_into_another_optimizer_continues_to_the_bit(tiny_model, rows, settings, matrices):
    settings = replace(settings, matrices=matrices)

    def steps(model, optimizer, which):
        for step in which:
            model.zero_grad()
            (next_token_loss(model, rows(4, step)) / 64).backward()
            optimizer.step()

    straight = tiny_model()
    optimizer = Optimizer(straight, settings)
    steps(straight, optimizer, range(3))
    state = {name: tensor.clone() for name, tensor in optimizer.state_tensors().items()}
    other = tiny_model()
    other.load_state_dict(straight.state_dict())
    resumed = Optimizer(other, settings)
    resumed.load_state_tensors(state)
    steps(straight, optimizer, range(3, 6))
    steps(other, resumed, range(3, 6))
    for (name, a), b in zip(straight.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_the_state_is_whole_before_the_first_step(tiny_model, settings):
    fresh, used = Optimizer(tiny_model(), settings).state_tensors(), one_step(tiny_model(), settings).state_tensors()
    assert {name: (t.shape, t.dtype) for name, t in fresh.items()} == {n: (t.shape, t.dtype) for n, t in used.items()}
    assert not any(tensor.any() for tensor in fresh.values())
    assert all(tensor.any() for name, tensor in used.items() if name.endswith((".step", ".exp_avg")))


def test_a_state_of_other_settings_is_refused_by_name(tiny_model, settings):
    state = one_step(tiny_model(), settings).state_tensors()
    with pytest.raises(GroundupError, match=r"blocks\.0\..*"):
        Optimizer(tiny_model(), replace(settings, matrices="adamw")).load_state_tensors(state)


def test_frozen_parameters_are_not_touched_and_all_frozen_is_an_error(tiny_model, settings):
    model = tiny_model()
    model.token_embedding.weight.requires_grad_(False)
    before = model.token_embedding.weight.clone()
    one_step(model, settings)
    assert torch.equal(model.token_embedding.weight, before)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(GroundupError, match="frozen"):
        Optimizer(model, settings)
