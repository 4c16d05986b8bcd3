"""Trainings on rows with unequal numbers of targets, run once a rank: `cut FOLDER MICRO_BATCH_SIZE` or `resume FOLDER`.

Every rank writes its weights into the folder; only rank 0 has a place for states.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from groundup.data.batches import Batch
from groundup.models import build_model, config_for_size
from groundup.training.distributed import Ranks, join_ranks
from groundup.training.loop import Budget, Hook, Job, train
from groundup.training.objectives import next_token_loss
from groundup.training.optimizers import Optimizer, OptimizerSettings


def make_job(ranks: Ranks, micro_batch_size: int, n_steps: int, **fields) -> Job:
    """A job of `n_steps` on a fresh model; any other field of `Job` can be given."""
    config = config_for_size("d1", 31, 16, n_layers=1, d_model=32, d_head=16, d_ff=64)
    model = build_model(config, seed=ranks.rank)  # every rank starts elsewhere; rank 0's weights must win
    per_rank = 8 // ranks.world_size

    def batches(step: int) -> list[Batch]:
        generator = torch.Generator().manual_seed(step)
        tokens = torch.randint(0, 31, (8, 17), generator=generator)
        inputs, labels = tokens[:, :-1].contiguous(), tokens[:, 1:].clone()
        for row in range(8):
            labels[row, : 2 * row] = -100  # from 16 targets down to 2
        mine = range(ranks.rank * per_rank, (ranks.rank + 1) * per_rank, micro_batch_size)
        return [Batch(inputs[i : i + micro_batch_size], labels[i : i + micro_batch_size]) for i in mine]

    # AdamW's epsilon keeps rounding of near-zero gradients from becoming whole steps.
    settings = OptimizerSettings(0.02, 0.01, 0.005, 0.01, weight_decay=0.1, epsilon=1e-3)
    objective = fields.pop("objective", next_token_loss)
    return Job(model, batches, objective, Optimizer(model, settings), Budget(steps=n_steps), **fields)


def write(job: Job, folder: Path, name: str, ranks: Ranks, **more: torch.Tensor) -> None:
    weights = {name: parameter.detach().clone() for name, parameter in job.model.named_parameters()}
    save_file(weights | more, folder / f"{name}-{ranks.rank}.safetensors")


def cut(folder: Path, micro_batch_size: int) -> None:
    """Four steps."""
    with join_ranks() as ranks:
        job = make_job(ranks, micro_batch_size, 4)
        start = [parameter.detach().clone() for parameter in job.model.parameters()]
        result = train(job, ranks=ranks)
        assert result.place.n_tokens == 4 * 8 * 16, result
        moved = max((a - b).abs().max() for a, b in zip(start, job.model.parameters(), strict=True))
        write(job, folder, "cut", ranks, moved=moved.detach().reshape(1))


def resume(folder: Path) -> None:
    """Eight steps straight; the same stopped after four, resumed, resumed when finished, and last made to explode."""
    with join_ranks() as ranks:

        def go(job: Job, state: str | None, outcome: str, step: int) -> None:
            result = train(job, state_folder=folder / state if state and ranks.is_main else None, ranks=ranks)
            assert (result.outcome, result.place.step) == (outcome, step), result
            assert result.place.n_tokens == step * 8 * 16, result

        def press_at(step: int) -> tuple[Hook, ...]:
            return (Hook(lambda now: os.kill(os.getpid(), signal.SIGINT) if now.step == step else None, every_steps=1),)

        straight = make_job(ranks, 4, 8)
        go(straight, None, "finished", 8)
        write(straight, folder, "straight", ranks)
        go(make_job(ranks, 4, 8, hooks=press_at(4)), "state", "interrupted", 4)
        resumed = make_job(ranks, 4, 8)
        go(resumed, "state", "finished", 8)
        write(resumed, folder, "resumed", ranks)
        again = make_job(ranks, 4, 8)
        go(again, "state", "finished", 8)
        write(again, folder, "again", ranks)
        # Only rank 0 remembers the losses from before the stop, so only it can tell that these are too high.
        go(make_job(ranks, 4, 60, hooks=press_at(20)), "other", "interrupted", 20)
        high = make_job(ranks, 4, 60, objective=lambda model, batch: next_token_loss(model, batch) * 3)
        go(high, "other", "diverged", 20)
        write(high, folder, "diverged", ranks)


if __name__ == "__main__":
    {"cut": cut, "resume": resume}[sys.argv[1]](Path(sys.argv[2]), *map(int, sys.argv[3:]))
