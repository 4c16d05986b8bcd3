"""Labelled texts as batches: rows of unequal length, padded on the right, with where each ends.

One idea: a row is as long as its text. The rows of a step are a pure function of (seed, step), as everywhere; within a step
they are sorted by length before they are cut into micro-batches, so that little is padding and the gradient is the same.

Shapes: B rows, T positions, C labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from groundup.core.files import file_written_atomically
from groundup.data.labelled import LabelledTexts
from groundup.data.stream import RowStream
from groundup.tokenization.beginning import adds_bos
from groundup.tokenization.tokenizer import Tokenizer

Ids = npt.NDArray[np.int32]
_STEP = 8  # widths are multiples of this: fewer shapes, and kernels like them


@dataclass(frozen=True)
class LabelledBatch:
    """Texts a classifier reads at once: row b is the first `lengths_B[b]` tokens, the rest is padding.

    `labels` are numbers [B], or tables of 0 and 1 [B, C] where a text has several labels.
    """

    tokens_BT: torch.Tensor
    lengths_B: torch.Tensor
    labels: torch.Tensor

    @property
    def n_targets(self) -> int:
        """Texts: what a step's loss is divided by."""
        return len(self.tokens_BT)

    def to(self, device: torch.device | str) -> LabelledBatch:
        """The same batch on a device."""
        moved = (each.to(device, non_blocking=True) for each in (self.tokens_BT, self.lengths_B, self.labels))
        return LabelledBatch(*moved)


@dataclass(frozen=True)
class Reader:
    """How a text becomes the tokens of a row: at most `context_length`, of longer texts the start or the end.

    A beginning-of-text token, where the model's texts have one, is kept either way.
    """

    tokenizer: Tokenizer
    context_length: int | None = None
    keep: Literal["start", "end"] = "start"

    def read(self, texts: Iterable[str]) -> Iterator[Ids]:
        """The tokens of each text, whole (see `cut`)."""
        bos = self.tokenizer.bos_id
        begin = [bos] if bos is not None and adds_bos(self.tokenizer) else []
        for ids in self.tokenizer.encode_many(texts, n_threads=1):
            yield np.concatenate([begin, ids]).astype(np.int32)

    def cut(self, ids: Ids) -> Ids:
        """The tokens that are read of a text."""
        limit = self.context_length
        if limit is None or len(ids) <= limit:
            return ids
        if self.keep == "start":
            return ids[:limit]
        n_begin = int(self.tokenizer.bos_id is not None and adds_bos(self.tokenizer))
        return np.concatenate([ids[:n_begin], ids[len(ids) - (limit - n_begin) :]])


class TokenRows:
    """The tokens of the texts of a side, in a file, and their lengths."""

    def __init__(self, file: Path, texts: LabelledTexts, side: str, tokenizer: Tokenizer) -> None:
        lengths = []
        with file_written_atomically(file) as out:
            for ids in Reader(tokenizer).read(example.text for example in texts.rows(side)):
                out.write(ids.tobytes())
                lengths.append(len(ids))
        self.lengths = np.array(lengths, np.int64)
        self._ends = np.cumsum(self.lengths)
        self._ids = np.memmap(file, np.int32, "r") if self._ends.size and self._ends[-1] else np.empty(0, np.int32)
        self.truth = texts.truth(side)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> Ids:
        return np.asarray(self._ids[self._ends[row] - self.lengths[row] : self._ends[row]])


def padded(rows: Sequence[Ids], width: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as one tensor [B, T], zeros behind them, and their lengths; T is `width`, or what the longest row needs."""
    lengths = [len(row) for row in rows]
    width = width or -(-max(lengths) // _STEP) * _STEP
    tokens = np.zeros((len(rows), width), np.int64)
    for place, row in zip(tokens, rows, strict=True):
        place[: len(row)] = row
    return torch.from_numpy(tokens), torch.tensor(lengths)


class LabelledBatches:
    """`batches(step)` gives the micro-batches of a step, for this rank.

    With `balanced`, classes take turns, so that each is as frequent as the others: the texts of a rare one come more often.
    `fixed_width` makes every batch as wide as the context, for compiled models.
    """

    def __init__(
        self,
        rows: TokenRows,
        reader: Reader,
        *,
        batch_size: int,
        micro_batch_size: int,
        seed: int,
        multi_label: bool,
        balanced: bool = False,
        fixed_width: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        assert batch_size % (world_size * micro_batch_size) == 0, (batch_size, world_size, micro_batch_size)
        self._rows, self._reader = rows, reader
        self._batch_size, self._micro_batch_size = batch_size, micro_batch_size
        self._multi_label = multi_label
        self._width = reader.context_length if fixed_width else None
        # A source for each class where they take turns, else one for all.
        groups = [np.flatnonzero(column) for column in rows.truth.T] if balanced else [np.arange(len(rows))]
        self._groups = groups
        self._stream = RowStream([len(group) for group in groups], [1] * len(groups), seed)
        n_mine = batch_size // world_size
        self._mine = np.arange(rank * n_mine, (rank + 1) * n_mine)

    def __call__(self, step: int) -> list[LabelledBatch]:
        """The micro-batches of step 0, 1, 2, ..."""
        sources, indices = self._stream(step * self._batch_size + self._mine)
        found = [int(self._groups[source][index]) for source, index in zip(sources, indices, strict=True)]
        found.sort(key=lambda row: (self._rows.lengths[row], row))
        n = self._micro_batch_size
        return [self._batch(found[start : start + n]) for start in range(0, len(found), n)]

    @property
    def steps_per_epoch(self) -> float:
        """Steps that read as many texts as there are."""
        return len(self._rows) / self._batch_size

    def _batch(self, rows: Sequence[int]) -> LabelledBatch:
        tokens, lengths = padded([self._reader.cut(self._rows[row]) for row in rows], self._width)
        return LabelledBatch(tokens, lengths, targets(self._rows.truth[rows], multi_label=self._multi_label))


def targets(truth_BC: npt.NDArray[np.bool_], *, multi_label: bool) -> torch.Tensor:
    """What a classifier is trained to say: label numbers [B], or a table of 0 and 1 [B, C] for several labels."""
    return torch.from_numpy(truth_BC.astype(np.float32) if multi_label else truth_BC.argmax(axis=1))
