"""Four steps on rows with unequal numbers of targets; run once a rank. Arguments: file for the weights, micro-batch size."""

from __future__ import annotations

import sys

import torch
from safetensors.torch import save_file

from groundup.data.batches import Batch
from groundup.models import build_model, config_for_size
from groundup.training.distributed import join_ranks
from groundup.training.loop import Budget, Job, train
from groundup.training.objectives import next_token_loss
from groundup.training.optimizers import Optimizer, OptimizerSettings


def main(out: str, micro_batch_size: int) -> None:
    config = config_for_size("d1", 31, 16, n_layers=1, d_model=32, d_head=16, d_ff=64)
    with join_ranks() as ranks:
        model = build_model(config, seed=ranks.rank)  # every rank starts elsewhere; rank 0's weights must win
        start = [parameter.detach().clone() for parameter in model.parameters()]
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
        job = Job(model, batches, next_token_loss, Optimizer(model, settings), Budget(steps=4))
        result = train(job, ranks=ranks)
        assert result.place.n_tokens == 4 * 8 * 16, result
        if ranks.is_main:
            weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
            moved = max((a - b).abs().max() for a, b in zip(start, model.parameters(), strict=True))
            save_file(weights | {"moved": moved.detach().reshape(1)}, out)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
