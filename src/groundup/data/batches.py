"""Batches: what the training loop asks for at a step, and what an evaluation reads.

The batch of a step is a pure function of (seed, step): the run's rows are laid end to end, epoch after epoch, each
epoch in its own order, and step s takes rows s * batch_size onwards. Every rank takes its part of the same rows; so a
run resumes mid-epoch from the step alone, and a change of world size keeps the stream (levanter's idea).

Shapes: B rows of a micro-batch, T positions (context_length).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from groundup.core.errors import GroundupError
from groundup.data.order import Permutation
from groundup.data.store import document_ids
from groundup.data.windows import IGNORED_LABEL, Windows


@dataclass(frozen=True)
class Batch:
    """Rows the model reads at once. Labels are already shifted; -100 is no target.

    `document_ids_BT` numbers the documents within a row (None: each row is of one document); a position attends
    only to positions of its own document.
    """

    tokens_BT: torch.Tensor
    labels_BT: torch.Tensor
    document_ids_BT: torch.Tensor | None = None

    @cached_property
    def n_targets(self) -> int:
        """How many labels count towards the loss."""
        return int((self.labels_BT != IGNORED_LABEL).sum())

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        ids = self.document_ids_BT
        return Batch(
            self.tokens_BT.to(device, non_blocking=True),
            self.labels_BT.to(device, non_blocking=True),
            None if ids is None else ids.to(device, non_blocking=True),
        )


class TrainingBatches:
    """`batches(step)` gives the micro-batches of a step, for this rank.

    `batch_size` counts the rows of a step over all ranks. Every epoch reads every window once, in an order of
    its own; a step may end one epoch and begin the next.
    """

    def __init__(
        self, windows: Windows, *, batch_size: int, micro_batch_size: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        if batch_size < 1 or batch_size % world_size:
            raise GroundupError(f"batch_size {batch_size} cannot be shared equally among {world_size} processes")
        n_rows = batch_size // world_size
        if micro_batch_size < 1 or n_rows % micro_batch_size:
            raise GroundupError(
                f"micro_batch_size {micro_batch_size} does not divide the {n_rows} rows each process takes of a batch"
            )
        assert 0 <= rank < world_size, (rank, world_size)
        self.windows = windows
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self._seed = seed
        self._mine = np.arange(rank * n_rows, (rank + 1) * n_rows)
        self._order = Permutation(len(windows), seed)
        self._order_epoch = 0

    def __call__(self, step: int) -> list[Batch]:
        """The micro-batches of step 0, 1, 2, ..."""
        indices = self.window_indices(step)
        return [
            _batch(self.windows, indices[i : i + self.micro_batch_size])
            for i in range(0, len(indices), self.micro_batch_size)
        ]

    def window_indices(self, step: int) -> np.ndarray:
        """Which windows this rank reads at a step, int64 [batch_size / world_size]."""
        epochs, positions = np.divmod(step * self.batch_size + self._mine, len(self.windows))
        indices = np.empty_like(positions)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            indices[here] = self._order_of(epoch)(positions[here])
        return indices

    def _order_of(self, epoch: int) -> Permutation:
        if epoch != self._order_epoch:
            self._order, self._order_epoch = Permutation(len(self.windows), self._seed, epoch), epoch
        return self._order

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every window is read once; seldom a whole number."""
        return len(self.windows) / self.batch_size


class EvaluationBatches:
    """Every target of a split once, in order, in micro-batches of one shape.

    With `windows` made `to_the_end`. Targets an earlier window had, and the rows that fill up the last micro-batch,
    are labelled -100. `max_tokens` keeps about that many positions, in windows spread evenly over the split.
    """

    def __init__(self, windows: Windows, micro_batch_size: int, max_tokens: int | None = None) -> None:
        assert micro_batch_size >= 1, micro_batch_size
        self.windows = windows
        self.micro_batch_size = micro_batch_size
        n = len(windows)
        if max_tokens is not None:
            n = min(n, max(1, max_tokens // windows.context_length))
        self.indices = np.arange(n) * len(windows) // n

    def __len__(self) -> int:
        return -(-len(self.indices) // self.micro_batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for i in range(0, len(self.indices), self.micro_batch_size):
            indices = self.indices[i : i + self.micro_batch_size]
            # One shape throughout, so that a compiled model is not compiled again for the last rows.
            filled = np.pad(indices, (0, self.micro_batch_size - len(indices)), mode="edge")
            batch = _batch(self.windows, filled)
            for row, index in enumerate(indices.tolist()):
                batch.labels_BT[row, : self.windows.context_length - self.windows.new_targets(index)] = IGNORED_LABEL
            batch.labels_BT[len(indices) :] = IGNORED_LABEL
            yield batch


def _batch(windows: Windows, indices: np.ndarray) -> Batch:
    tokens, labels = windows.rows(indices)
    ids = torch.from_numpy(document_ids(tokens, windows.split.eos_id)) if windows.crosses_documents else None
    # Copies, because both are views of one array: a label that is blotted out must not blot out an input.
    return Batch(torch.from_numpy(tokens.copy()), torch.from_numpy(labels.copy()), ids)
