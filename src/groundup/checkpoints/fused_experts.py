"""Files that hold a layer's experts as one tensor, seen as if each expert's matrices lay apart, as in most files.

transformers 5 keeps experts as stacks in memory, and writes them so when told not to keep the original format; published
files have them apart. One source in front of another translates, so that nothing after it knows of two spellings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from groundup.checkpoints.sources import TensorSource
from groundup.models.weights import Fused


@dataclass(frozen=True)
class _Part:
    """Rows of one expert of a stack, or a tensor under another name."""

    name: str
    expert: int | None
    start: int
    n_rows: int


class ExpertsApart:
    """A `TensorSource` that shows each tensor matching one of `fused` as the parts it is made of."""

    def __init__(self, tensors: TensorSource, fused: tuple[Fused, ...]) -> None:
        self._tensors = tensors
        self._parts = {part: place for name in tensors.names for part, place in _parts(tensors, name, fused)}
        self.names = list(self._parts)
        self._kept: tuple[tuple[str, int], Tensor] | None = None  # the expert last read, for its other parts

    def shape(self, name: str) -> tuple[int, ...]:
        part, shape = self._parts[name], self._tensors.shape(self._parts[name].name)
        return shape if part.expert is None else (part.n_rows, *shape[2:])

    def dtype(self, name: str) -> torch.dtype:
        return self._tensors.dtype(self._parts[name].name)

    def file(self, name: str) -> Path:
        return self._tensors.file(self._parts[name].name)

    def read(self, name: str, start: int, stop: int) -> Tensor:
        part = self._parts[name]
        if part.expert is None:
            return self._tensors.read(part.name, start, stop)
        key = (part.name, part.expert)
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # before the next is read, so that there is never more than one
            self._kept = (key, self._tensors.read(part.name, part.expert, part.expert + 1)[0])
        return self._kept[1][part.start + start : part.start + stop].clone()


def _parts(tensors: TensorSource, name: str, fused: tuple[Fused, ...]) -> Iterator[tuple[str, _Part]]:
    """What a tensor is made of, by name: itself, unless it is fused."""
    for each in fused:
        pattern = re.escape(each.name).replace(re.escape("{layer}"), r"(\d+)")
        if match := re.fullmatch(pattern, name):
            break
    else:
        yield name, _Part(name, None, 0, 0)
        return
    shape = tensors.shape(name)
    if "{expert}" not in each.parts[0]:
        yield each.parts[0].format(layer=match[1]), _Part(name, None, 0, 0)
        return
    n_rows = shape[1] // len(each.parts)
    for index, part in enumerate(each.parts):
        for expert in range(shape[0]):
            yield part.format(layer=match[1], expert=expert), _Part(name, expert, index * n_rows, n_rows)
