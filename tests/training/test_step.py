"""One step: the division by the true count, the clipping, and what is never applied."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.training.objectives import next_token_loss
from groundup.training.step import seed_step, take_step


class Recorder:
    """An optimizer that only looks at the gradients."""

    def __init__(self, model):
        self.model, self.gradients, self.factor = model, None, None

    def step(self, factor):
        self.gradients = [p.grad.clone() for p in self.model.parameters()]
        self.factor = factor


def test_the_gradient_is_of_the_mean_over_all_targets_however_the_batch_is_cut(make_job, rows):
    whole = [rows(2, 1, masked=10), rows(4, 2), rows(2, 3, masked=15)]
    n_targets = sum(batch.n_targets for batch in whole)
    assert n_targets == 2 * 6 + 4 * 16 + 2 * 1
    job = make_job(gradient_clip=1e9, batches=lambda step: whole)
    recorder = Recorder(job.model)
    figures = take_step(replace(job, optimizer=recorder), 0, 0.5)
    expected = sum(next_token_loss(job.model, batch) for batch in whole) / n_targets
    wanted = torch.autograd.grad(expected, list(job.model.parameters()))
    torch.testing.assert_close(recorder.gradients, list(wanted), atol=1e-7, rtol=1e-5)
    assert figures.loss == pytest.approx(expected.item())
    assert figures.n_tokens == 8 * 16
    assert recorder.factor == 0.5
    assert all(p.grad is None for p in job.model.parameters())


def test_the_gradient_is_clipped_to_its_norm_and_the_figure_is_the_one_before(make_job):
    job = make_job(gradient_clip=0.25)
    recorder = Recorder(job.model)
    figures = take_step(replace(job, optimizer=recorder), 0, 1.0)
    norm = torch.stack([g.norm() for g in recorder.gradients]).norm().item()
    assert figures.gradient_norm > 0.25
    assert norm == pytest.approx(0.25, rel=1e-4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_is_not_applied(make_job, bad):
    job = make_job(objective=lambda model, batch: next_token_loss(model, batch) * bad)
    before = [p.detach().clone() for p in job.model.parameters()]
    figures = take_step(job, 0, 1.0)
    assert not np.isfinite(figures.loss)
    assert all(torch.equal(a, b) for a, b in zip(before, job.model.parameters(), strict=True))
    assert not any(tensor.any() for tensor in job.optimizer.state_tensors().values())


def test_a_gradient_that_overflows_under_a_finite_loss_is_not_applied(make_job):
    class Overflow(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * float("inf")

    job = make_job(objective=lambda model, batch: Overflow.apply(next_token_loss(model, batch)))
    before = [p.detach().clone() for p in job.model.parameters()]
    figures = take_step(job, 0, 1.0)
    assert np.isfinite(figures.loss)
    assert not np.isfinite(figures.gradient_norm)
    assert all(torch.equal(a, b) for a, b in zip(before, job.model.parameters(), strict=True))


def test_a_batch_without_targets_is_an_error_that_names_the_step(make_job, rows):
    with pytest.raises(GroundupError, match="step 7 has no target"):
        take_step(make_job(batches=lambda step: [rows(2, 0, masked=16)]), 7, 1.0)


def test_the_random_numbers_of_a_step_are_its_own():
    def draw(*place):
        seed_step(*place)
        return torch.rand(1).item(), np.random.rand(), random.random()

    assert draw(1, 5) == draw(1, 5, 0)
    values = {draw(1, 5), draw(1, 6), draw(2, 5), draw(1, 5, 1)}
    assert len(values) == 4
