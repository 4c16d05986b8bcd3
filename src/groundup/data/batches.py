"""Batches: what the training loop asks for at a step, and what an evaluation reads.

The batch of a step is a pure function of (seed, step): step s takes places s * batch_size onwards of the stream of rows
(stream.py), and every rank its part of the same rows. So a run resumes mid-epoch from the step alone, and a change of world
size keeps the stream (levanter's idea).

Shapes: B rows of a micro-batch, T positions (context_length).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from groundup.core.errors import GroundupError
from groundup.data.dropping import drop_tokens
from groundup.data.examples import PackedExamples
from groundup.data.interleave import rows_per_epoch
from groundup.data.packing import Rows
from groundup.data.stream import RowStream
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

    @property
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


@dataclass(frozen=True)
class Progress:
    """How much of a source a training has read: its rows, the tokens in them, and how often that is all of it."""

    rows: int
    tokens: int
    epochs: float


class TrainingBatches:
    """`batches(step)` gives the micro-batches of a step, for this rank.

    `batch_size` counts the rows of a step over all ranks. `rows` are those of one source, or of each source of a mixture,
    which then has `parts[i]` of every `sum(parts)` rows. Every epoch of a source reads each of its rows once, in an order of
    its own; a step may end one epoch and begin the next. With `drop_tokens`, 1 to that many tokens of every row are left
    out, others at every reading.
    """

    def __init__(
        self,
        rows: Rows | PackedExamples | Sequence[Rows | PackedExamples],
        *,
        batch_size: int,
        micro_batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        parts: Sequence[int] = (1,),
        drop_tokens: int = 0,
    ) -> None:
        if batch_size < 1 or batch_size % world_size:
            raise GroundupError(f"batch_size {batch_size} cannot be shared equally among {world_size} processes")
        n_rows = batch_size // world_size
        if micro_batch_size < 1 or n_rows % micro_batch_size:
            raise GroundupError(
                f"micro_batch_size {micro_batch_size} does not divide the {n_rows} rows each process takes of a batch"
            )
        assert 0 <= rank < world_size, (rank, world_size)
        self.rows = tuple(rows) if isinstance(rows, Sequence) else (rows,)
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self._seed = seed
        self._drop_tokens = drop_tokens
        self._mine = np.arange(rank * n_rows, (rank + 1) * n_rows)
        self._stream = RowStream([len(each) for each in self.rows], parts, seed)

    def __call__(self, step: int) -> list[Batch]:
        """The micro-batches of step 0, 1, 2, ..."""
        sources, indices = self.row_indices(step)
        n = self.micro_batch_size
        numbers = step * self.batch_size + self._mine
        return [
            self._batch(sources[i : i + n], indices[i : i + n], numbers[i : i + n]) for i in range(0, len(indices), n)
        ]

    def row_indices(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """(source, row of it) of each row this rank reads at a step, int64 [batch_size / world_size]."""
        return self._stream(step * self.batch_size + self._mine)

    def _batch(self, sources: np.ndarray, indices: np.ndarray, numbers: np.ndarray) -> Batch:
        shape = (len(indices), self.rows[0].context_length)
        inputs, labels, documents = (np.empty(shape, np.int64) for _ in range(3))
        for source in np.unique(sources).tolist():
            here = sources == source
            inputs[here], labels[here], documents[here] = self.rows[source].rows(indices[here])
        if self._drop_tokens:
            inputs, labels, documents = drop_tokens(
                inputs,
                labels,
                documents,
                numbers=numbers,
                most=self._drop_tokens,
                seed=self._seed,
                eos_id=self.rows[0].eos_id,
            )
        # Decided for the run, not the batch: a compiled model knows one shape, and a batch cut otherwise is the same.
        crosses = any(rows.crosses_documents for rows in self.rows)
        return Batch(
            torch.from_numpy(inputs), torch.from_numpy(labels), torch.from_numpy(documents) if crosses else None
        )

    def progress(self, n_steps: int) -> list[Progress]:
        """What the first `n_steps` steps, all ranks together, read of each source.

        Tokens of packed rows are counted at the mean of a row, so within an epoch they may be off by its padding.
        """
        counts = self._stream.interleave.counts(n_steps * self.batch_size).tolist()
        return [
            Progress(n, round(n * rows.tokens_per_row), n / len(rows))
            for n, rows in zip(counts, self.rows, strict=True)
        ]

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which the average row is read once (each of them, if there is one source); seldom a whole number."""
        return rows_per_epoch(self._stream.n_rows, self._stream.interleave.parts) / self.batch_size


class EvaluationBatches:
    """Every target of a split once, in order, in micro-batches of one shape.

    With `windows` made `to_the_end`, or packed examples. Targets an earlier window had, and the rows that fill up the last
    micro-batch, are labelled -100. `max_tokens` keeps about that many positions, in windows spread evenly over the split.
    """

    def __init__(self, windows: Windows | PackedExamples, micro_batch_size: int, max_tokens: int | None = None) -> None:
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


def _batch(windows: Windows | PackedExamples, indices: np.ndarray) -> Batch:
    inputs, labels, documents = windows.rows(indices)
    ids = torch.from_numpy(documents) if windows.crosses_documents else None
    # Copies, because both are views of one array: a label that is blotted out must not blot out an input.
    return Batch(torch.from_numpy(inputs.copy()), torch.from_numpy(labels.copy()), ids)
