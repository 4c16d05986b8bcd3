"""One optimizer step: micro-batches in, figures out.

The one idea: divide once, by the truth. An objective gives the *sum* of its losses; the targets of the whole step are
counted over all micro-batches and all ranks before the first backward pass, and every sum is divided by that one count.
So how a batch is cut, into micro-batches or over ranks, changes nothing but memory (torchtitan does the same; averaging
each micro-batch, as many loops do, weighs a target by the company it keeps).

Randomness (dropout) follows the same rule as the data: a pure function of (seed, step, rank). A resumed run needs no
saved generator state, and nothing a hook draws between steps can touch the training.
"""

from __future__ import annotations

import hashlib
import math
import random

import numpy as np
import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from groundup.core.errors import GroundupError
from groundup.training.distributed import ALONE, Ranks
from groundup.training.divergence import StepFigures
from groundup.training.job import Job


def take_step(job: Job, step: int, factor: float, ranks: Ranks = ALONE) -> StepFigures:
    """Learn from the micro-batches of one step; `factor` is the schedule's, on all learning rates.

    A step whose loss or gradient is not finite is measured but not applied. Raises `GroundupError` when the whole
    step has no target to learn from.
    """
    batches = job.batches(step)
    parameters = [parameter for parameter in job.model.parameters() if parameter.requires_grad]
    device = parameters[0].device
    n_targets, n_tokens = ranks.sum_numbers(
        sum(batch.n_targets for batch in batches), sum(batch.tokens_BT.numel() for batch in batches)
    )
    if not n_targets:
        raise GroundupError(
            f"the batch of step {step} has no target to learn from: every label is -100; check the mask"
        )

    total = torch.zeros((), device=device)
    for batch in batches:
        mean_share = job.objective(job.model, batch.to(device)) / n_targets
        mean_share.backward()
        total += mean_share.detach()

    if ranks.world_size > 1:  # every rank must send the same tensors, also one that had no row this step
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    ranks.sum_tensors([*gradients, total])
    norm = get_total_norm(gradients)
    loss, gradient_norm = torch.stack((total, norm)).tolist()  # the one place a step waits for the device
    if math.isfinite(loss) and math.isfinite(gradient_norm):
        if gradient_norm > job.gradient_clip:
            clip_grads_with_norm_(parameters, job.gradient_clip, norm)
        job.optimizer.step(factor)
    for parameter in parameters:
        parameter.grad = None
    return StepFigures(loss, gradient_norm, int(n_tokens))


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Set torch's, NumPy's and Python's global generators to what this step of this run draws from."""
    digest = hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()
    number = int.from_bytes(digest[:8], "little") >> 1
    torch.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)
