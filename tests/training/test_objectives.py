"""The blockwise cross-entropy is the plain one, in value and in every gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from groundup.training.objectives import linear_cross_entropy, next_token_loss

N, D, V = 23, 8, 40


def tensors(dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, D, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(V, D, generator=generator).requires_grad_()
    labels = torch.randint(0, V, (N,), generator=generator)
    labels[[0, 5, 22]] = -100
    return hidden, weight, labels


def plain(hidden, weight, labels):
    return F.cross_entropy((hidden @ weight.to(hidden.dtype).T).float(), labels, ignore_index=-100, reduction="sum")


@pytest.mark.parametrize("logits_at_once", [1, V, 5 * V, 1 << 20])
def test_value_and_gradients_equal_the_plain_loss(logits_at_once):
    hidden, weight, labels = tensors()
    expected = plain(hidden, weight, labels)
    wanted = torch.autograd.grad(3 * expected, (hidden, weight))
    loss = linear_cross_entropy(hidden, weight, labels, logits_at_once)
    found = torch.autograd.grad(3 * loss, (hidden, weight))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(found, wanted)


def test_in_bf16_it_rounds_no_more_than_the_plain_loss_does():
    hidden, weight, labels = tensors(torch.bfloat16)
    exact = plain(hidden.double(), weight.double(), labels)
    wanted = torch.autograd.grad(exact, (hidden, weight))
    loss = linear_cross_entropy(hidden, weight, labels, 5 * V)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.01)
    for found, want in zip(torch.autograd.grad(loss, (hidden, weight)), wanted, strict=True):
        assert (found.double() - want.double()).norm() < 0.02 * want.double().norm()


def scaled_and_not(loss_of, dtype: torch.dtype):
    """Gradients of loss / 510, and those of the loss times that in fp32, rounded once."""
    hidden, weight, labels = tensors(torch.bfloat16)
    weight = weight.detach().to(dtype).requires_grad_()
    whole = torch.autograd.grad(loss_of(hidden, weight, labels, 5 * V), (hidden, weight))
    scale = torch.tensor(1 / 510)  # 0.39 % away from the nearest bf16
    found = torch.autograd.grad(loss_of(hidden, weight, labels, 5 * V) * scale, (hidden, weight))
    return found, tuple((gradient.float() * scale).to(gradient.dtype) for gradient in whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_bf16_dividing_the_loss_divides_the_gradients_exactly(dtype):
    found, wanted = scaled_and_not(linear_cross_entropy, dtype)
    torch.testing.assert_close(found, wanted, atol=0, rtol=0)


def test_without_gradients_the_same_value():
    hidden, weight, labels = tensors()
    with torch.no_grad():
        assert linear_cross_entropy(hidden, weight, labels, 5 * V).item() == pytest.approx(
            plain(hidden, weight, labels).item()
        )


@pytest.mark.parametrize("frozen", ["hidden", "weight"])
def test_a_frozen_side_gets_no_gradient_and_the_other_the_same(frozen):
    hidden, weight, labels = tensors()
    (hidden if frozen == "hidden" else weight).requires_grad_(False)
    moving = weight if frozen == "hidden" else hidden
    (wanted,) = torch.autograd.grad(plain(hidden, weight, labels), moving)
    linear_cross_entropy(hidden, weight, labels, 5 * V).backward()
    torch.testing.assert_close(moving.grad, wanted)
    assert (hidden if frozen == "hidden" else weight).grad is None


def test_every_label_ignored_is_zero_with_zero_gradients():
    hidden, weight, labels = tensors()
    loss = linear_cross_entropy(hidden, weight, torch.full_like(labels, -100))
    loss.backward()
    assert loss.item() == 0
    assert hidden.grad.abs().sum() == 0
    assert weight.grad.abs().sum() == 0


def test_huge_logits_do_not_overflow():
    hidden, weight, labels = tensors()
    loss = linear_cross_entropy(hidden * 1e4, weight, labels)
    assert torch.isfinite(loss)


@pytest.mark.parametrize("logits_at_once", [5 * V, 1 << 20])
def test_soft_capped_logits_give_the_plain_loss_of_capped_ones(logits_at_once):
    hidden, weight, labels = tensors()
    cap = 1.5  # logits here reach 8
    expected = F.cross_entropy(cap * torch.tanh(hidden @ weight.T / cap), labels, ignore_index=-100, reduction="sum")
    wanted = torch.autograd.grad(expected, (hidden, weight))
    loss = linear_cross_entropy(hidden, weight, labels, logits_at_once, softcap=cap)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, (hidden, weight)), wanted)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(hidden, weight, labels, logits_at_once, softcap=cap), expected)


@pytest.mark.parametrize("architecture", ["qwen3", "gpt2", "gemma2"])
@pytest.mark.parametrize("tie_embeddings", [True, False])
def test_next_token_loss_is_the_models_own_logits_against_the_labels(tiny_model, rows, architecture, tie_embeddings):
    model = tiny_model(architecture, tie_embeddings=tie_embeddings)
    batch = rows(3, seed=1, masked=4)
    logits = model(batch.tokens_BT)
    expected = F.cross_entropy(logits.flatten(0, 1), batch.labels_BT.flatten(), reduction="sum")
    wanted = torch.autograd.grad(expected, list(model.parameters()))
    loss = next_token_loss(model, batch)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, list(model.parameters())), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_compiled_it_is_the_same(tiny_model, rows):
    from groundup.training.precision import missing_for_compile

    if missing_for_compile():
        pytest.skip(f"{missing_for_compile()} is missing")
    model, batch = tiny_model(), rows(3, seed=1, masked=4)
    wanted = torch.autograd.grad(next_token_loss(model, batch), list(model.parameters()))
    found = torch.autograd.grad(torch.compile(next_token_loss, dynamic=False)(model, batch), list(model.parameters()))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)
    found, wanted = scaled_and_not(torch.compile(linear_cross_entropy, dynamic=False), torch.float32)
    torch.testing.assert_close(found, wanted, atol=0, rtol=0)
    hidden, weight, labels = tensors()
    wanted = torch.autograd.grad(plain(hidden, weight, labels), (hidden, weight))
    for logits_at_once in (5 * V, 20 * V):  # five blocks, the head's gradient in one product; two, a product each
        loss = torch.compile(linear_cross_entropy, dynamic=False)(hidden, weight, labels, logits_at_once)
        found = torch.autograd.grad(loss, (hidden, weight))
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
