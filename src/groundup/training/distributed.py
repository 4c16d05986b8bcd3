"""Data parallelism: the same model in several processes, each with its rows of every batch.

The one idea: the ranks are one run. They agree on everything that is decided from a clock or a signal (rank 0's clock
is the run's), gradients are *summed* over ranks and were divided by the target count of the whole step, so 2 ranks x
4 rows is 1 rank x 8 rows. Only rank 0 writes. Start the processes with `torchrun`; its environment is all that is
read. Gradients travel in one message after the backward pass; they do not overlap with it (PyTorch DDP, Li et al.
2020, section 3.2.3, does): simple first, and equal on every machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run; with `world_size` 1 every method returns what it was given."""

    rank: int = 0
    world_size: int = 1
    device: str = "cpu"

    @property
    def is_main(self) -> bool:
        """Whether this process writes, logs and runs hooks."""
        return self.rank == 0

    def sum_numbers(self, *numbers: float) -> list[float]:
        """Each number summed over the ranks (exact for whole numbers below 2^53)."""
        if self.world_size == 1:
            return list(numbers)
        shared = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.all_reduce(shared)
        return shared.tolist()

    def from_main(self, *numbers: float) -> list[float]:
        """Rank 0's numbers, on every rank."""
        if self.world_size == 1:
            return list(numbers)
        shared = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.broadcast(shared, src=0)
        return shared.tolist()

    def sum_tensors(self, tensors: list[Tensor]) -> None:
        """Sum fp32 tensors over the ranks, in place, in one message."""
        if self.world_size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def copy_from_main(self, tensors: list[Tensor]) -> None:
        """Give every rank rank 0's values, in place."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)


ALONE = Ranks()


@contextmanager
def join_ranks(device: str = "cpu") -> Iterator[Ranks]:
    """The ranks that `torchrun` started, connected for the length of the block; `ALONE` when it did not start us.

    `device` is "cpu" (gloo) or "cuda" (nccl, GPU number LOCAL_RANK).
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Ranks(device=device)
        return
    if device.startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Ranks(rank=int(os.environ["RANK"]), world_size=world_size, device=device)
    finally:
        dist.destroy_process_group()
