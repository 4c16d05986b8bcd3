"""Mixtures of experts: sorted tokens against every expert on every token, and the balance loss by hand."""

from __future__ import annotations

import pytest
import torch

from groundup.models.base import Reading
from groundup.models.layers.experts import Experts, imbalance


def experts(n_experts: int = 6, n_active: int = 2, renormalized: bool = True, balance: float = 0.0) -> Experts:
    layer = Experts(10, 7, n_experts, n_active, renormalized=renormalized, balance=balance)
    for seed, parameter in enumerate(layer.parameters()):
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(seed))
    return layer


def vectors(n_rows: int = 3, length: int = 5) -> torch.Tensor:
    return torch.randn(n_rows, length, 10, generator=torch.Generator().manual_seed(9)).requires_grad_()


def reading() -> Reading:
    return Reading(torch.arange(5)[None])


@pytest.mark.parametrize("renormalized", [True, False])
@pytest.mark.parametrize(("n_experts", "n_active"), [(6, 2), (4, 4), (1, 1), (40, 3)])
def test_sorted_tokens_equal_every_expert_on_every_token(n_experts: int, n_active: int, renormalized: bool) -> None:
    layer, x = experts(n_experts, n_active, renormalized), vectors()
    out, wanted = layer(x, reading()), layer.reference(x)
    torch.testing.assert_close(out, wanted, atol=1e-5, rtol=1e-5)
    inputs = (x, *layer.parameters())
    found = torch.autograd.grad(out.sin().sum(), inputs)
    for one, other in zip(found, torch.autograd.grad(wanted.sin().sum(), inputs), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_shares_sum_to_one_only_when_renormalized() -> None:
    x = vectors().flatten(0, 1)
    probabilities, shares, chosen = experts().route(x)
    torch.testing.assert_close(shares.sum(1), torch.ones(15))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(15))
    plain = experts(renormalized=False).route(x)[1]
    torch.testing.assert_close(plain, probabilities.gather(1, chosen))
    assert plain.sum(1).max() < 1


def test_the_balance_loss_by_hand() -> None:
    """Four tokens, two experts, one each: three go to the first, whose mean probability is 0.7."""
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]])
    loss = imbalance(probabilities, torch.tensor([3, 4], dtype=torch.int32))
    assert loss.item() == pytest.approx(2 * (0.75 * 0.7 + 0.25 * 0.3))
    even = torch.full((4, 2), 0.5)
    assert imbalance(even, torch.tensor([2, 4], dtype=torch.int32)).item() == 1.0
    assert imbalance(even, torch.tensor([4, 8], dtype=torch.int32)).item() == 2.0  # two of two


@pytest.mark.parametrize("training", [True, False])
def test_the_balance_loss_is_asked_for_in_training_alone(training: bool) -> None:
    layer, seen = experts(balance=0.5).train(training), reading()
    layer(vectors(), seen)
    assert len(seen.penalties) == training
    if training:
        probabilities, _, chosen = layer.route(vectors().flatten(0, 1))
        ends = torch.bincount(chosen.flatten(), minlength=6).cumsum(0)
        torch.testing.assert_close(seen.penalties[0], 0.5 * imbalance(probabilities, ends))
        assert torch.autograd.grad(seen.penalties[0], layer.router.weight)[0].abs().max() > 0
    experts(balance=0.0)(vectors(), unasked := reading())
    assert not unasked.penalties
