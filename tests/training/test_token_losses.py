"""Losses token by token are those of plain cross-entropy, and so are their gradients, however few logits are held."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from groundup.models import build_model, config_for_size
from groundup.models.layers.softcap import soft_capped
from groundup.training.objectives import IGNORED_LABEL
from groundup.training.token_losses import answer_log_probabilities, token_losses


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("logits_at_once", [1 << 25, 150])
def test_losses_and_gradients_are_those_of_all_logits_at_once(softcap, logits_at_once):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(11, 8, generator=generator).requires_grad_()
    weight = torch.randn(40, 8, generator=generator).requires_grad_()
    labels = torch.randint(40, (11,), generator=generator)
    scale = torch.randn(11, generator=generator)

    logits = hidden @ weight.T
    plain = F.cross_entropy(logits if softcap is None else soft_capped(logits, softcap), labels, reduction="none")
    expected = torch.autograd.grad((plain * scale).sum(), (hidden, weight))
    losses = token_losses(hidden, weight, labels, softcap, logits_at_once)
    found = torch.autograd.grad((losses * scale).sum(), (hidden, weight))

    assert torch.allclose(losses, plain, atol=1e-6)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_frozen_head_gets_no_gradient_and_the_rest_the_same():
    hidden = torch.randn(5, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weight = torch.randn(20, 8, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(5)
    token_losses(hidden, weight, labels).sum().backward()
    expected = torch.autograd.grad(F.cross_entropy(hidden @ weight.T, labels, reduction="sum"), hidden)[0]
    assert weight.grad is None
    assert torch.allclose(hidden.grad, expected, atol=1e-6)


def test_an_answer_is_scored_without_its_prompt_and_without_its_padding():
    model = build_model(config_for_size("d2", 50, 16, "gpt2", d_model=32, d_head=16), seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    model.eval()
    tokens = torch.randint(50, (2, 10), generator=torch.Generator().manual_seed(4))
    labels = torch.full((2, 10), IGNORED_LABEL)
    labels[0, 3:7] = tokens[0, 4:8]
    labels[1, 2:9] = tokens[1, 3:10]
    found = answer_log_probabilities(model, tokens, labels)
    log_probabilities = model(tokens).log_softmax(-1)
    expected = [
        log_probabilities[0, range(3, 7), tokens[0, 4:8]].sum(),
        log_probabilities[1, range(2, 9), tokens[1, 3:10]].sum(),
    ]
    assert torch.allclose(found, torch.stack(expected), atol=1e-5)

    padded = F.pad(tokens, (0, 4), value=7)
    more = F.pad(labels, (0, 4), value=IGNORED_LABEL)
    assert torch.allclose(answer_log_probabilities(model, padded, more), found, atol=1e-5)
    nothing = torch.full((2, 10), IGNORED_LABEL)
    assert answer_log_probabilities(model, tokens, nothing).tolist() == [0.0, 0.0]
