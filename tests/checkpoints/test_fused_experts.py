"""Experts in one tensor are seen apart, piece by piece, and read no more than one expert at a time."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from groundup.checkpoints.fused_experts import ExpertsApart
from groundup.models.weights import Fused

FUSED = (
    Fused("a.{layer}.both", ("a.{layer}.{expert}.one", "a.{layer}.{expert}.other")),
    Fused("a.{layer}.down", ("a.{layer}.{expert}.down",)),
    Fused("a.{layer}.gate", ("b.{layer}.gate",)),
)


class Memory:
    """A source of tensors in memory that counts the rows it was asked for."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors, self.names, self.asked = tensors, list(tensors), []

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name].shape)

    def dtype(self, name: str) -> torch.dtype:
        return self.tensors[name].dtype

    def file(self, name: str) -> Path:
        return Path(name)

    def read(self, name: str, start: int, stop: int) -> Tensor:
        self.asked.append((name, start, stop))
        return self.tensors[name][start:stop]


def test_experts_lie_apart() -> None:
    both, down = torch.randn(2, 6, 4), torch.randn(2, 4, 3)
    stored = {"a.10.both": both, "a.10.down": down.bfloat16(), "a.10.gate": torch.ones(2, 4), "c": torch.zeros(5)}
    source = Memory(stored)
    apart = ExpertsApart(source, FUSED)
    parts = [f"a.10.{expert}.{part}" for part in ("one", "other", "down") for expert in range(2)]
    assert sorted(apart.names) == sorted([*parts, "b.10.gate", "c"])
    assert apart.shape("a.10.1.other") == (3, 4)
    assert apart.shape("b.10.gate") == (2, 4)
    assert apart.dtype("a.10.0.down") == torch.bfloat16
    assert apart.file("a.10.0.one") == Path("a.10.both")
    assert torch.equal(apart.read("a.10.1.one", 0, 3), both[1, :3])
    assert torch.equal(apart.read("a.10.1.other", 1, 3), both[1, 4:])
    assert source.asked == [("a.10.both", 1, 2)], "one expert is read once for all of its parts"
    assert torch.equal(apart.read("b.10.gate", 1, 2), torch.ones(1, 4))
    assert torch.equal(apart.read("c", 2, 5), torch.zeros(3))
