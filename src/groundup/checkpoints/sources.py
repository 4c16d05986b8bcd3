"""Where a model comes from, whatever its files are: a configuration, a tokenizer, and tensors to read.

A file format is one module that makes a `ModelSource` of a path. What follows is the same for all: `fill` reads the
tensors, piece by piece, into the parameters they are for. So memory holds the model and one piece, in the dtype and on
the device that it is to have; no second copy is ever made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from groundup.core.errors import GroundupError
from groundup.models import LanguageModel, ModelConfig, architecture
from groundup.models.weights import Row, WeightTable, to_theirs
from groundup.tokenization.tokenizer import Tokenizer

# Large enough that reading is not all calls, small enough to stay in a processor's cache and out of the peak.
_PIECE_BYTES = 4 << 20


class TensorSource(Protocol):
    """Tensors under the names, and in the layout, of the family's Hugging Face files."""

    @property
    def names(self) -> Sequence[str]:
        """The names of all tensors there are."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        ...

    def dtype(self, name: str) -> torch.dtype:
        """The dtype `read` gives a tensor in."""
        ...

    def file(self, name: str) -> Path:
        """The file that holds a tensor, for messages."""
        ...

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` (of the first dimension) of a tensor, on the CPU; good until the next `read`.

        Raises GroundupError naming the file when it cannot be read.
        """
        ...


@dataclass(frozen=True)
class ModelSource:
    """All that a model is made of."""

    path: Path  # the folder or file it lies in
    config: ModelConfig
    tokenizer: Tokenizer
    tensors: TensorSource


def build_from(source: ModelSource, dtype: torch.dtype | None, device: str | torch.device) -> LanguageModel:
    """The model of a source, in evaluation mode, made in `dtype` (None: bfloat16 if all is stored so, else float32)."""
    config, tensors = source.config, source.tensors
    family = architecture(config.architecture)
    table: WeightTable = family.weights(config)
    if dtype is None:
        stored = {tensors.dtype(name) for name in tensors.names if table.their_name(name)}
        dtype = torch.bfloat16 if stored == {torch.bfloat16} else torch.float32
    with torch.device("meta"):
        model: LanguageModel = family.Model(config)
    rows = list(table.expand(config.n_layers, config.tie_embeddings))
    found = check_names(source, table, rows)
    weights = {}
    for row in rows:
        weights[row.ours] = torch.empty(model.get_parameter(row.ours).shape, dtype=dtype, device=device)
        fill(weights[row.ours], row, tensors, found)
    if config.tie_embeddings and table.head.theirs in found:
        _check_tied(source, table, found)
    model.load_state_dict(weights, assign=True)
    return model.set_dtype(dtype).to(device).eval()


def fill(parameter: Tensor, row: Row, tensors: TensorSource, found: dict[str, str]) -> None:
    """Read the tensors of one row of a weight table into its parameter, converted to its dtype, on its device.

    `found` says under which name a file has each. Raises GroundupError naming file and tensor when a shape differs.
    """
    for target, source in zip(to_theirs(parameter, row), row.sources, strict=True):
        name = found[source]
        if tensors.shape(name) != tuple(target.shape):
            raise GroundupError(
                f"{tensors.file(name)}: tensor {name} is {list(tensors.shape(name))}, but config.json asks for "
                f"{list(target.shape)}; config and weights are not of the same model"
            )
        for start, piece in pieces(tensors, name):
            if row.transpose:  # turned here, where it is small: numbers that go far apart one by one are slow
                piece = piece.mT.contiguous().mT
            target[start : start + len(piece)].copy_(piece)


def pieces(tensors: TensorSource, name: str) -> Iterator[tuple[int, Tensor]]:
    """A tensor in pieces of a few megabytes: where each begins, and its rows."""
    for start, stop in row_ranges(tensors.shape(name), tensors.dtype(name)):
        yield start, tensors.read(name, start, stop)


def row_ranges(shape: tuple[int, ...], dtype: torch.dtype) -> Iterator[tuple[int, int]]:
    """First and last (exclusive) of the rows that make a piece of a few megabytes of such a tensor."""
    n_rows, *rest = shape
    n_each = max(1, _PIECE_BYTES // max(1, torch.Size(rest).numel() * dtype.itemsize))
    for start in range(0, n_rows, n_each):
        yield start, min(start + n_each, n_rows)


def check_names(source: ModelSource, table: WeightTable, rows: list[Row]) -> dict[str, str]:
    """Under which name the files have each tensor of the table; nothing missing, nothing left over."""
    found = {full: name for name in source.tensors.names if (full := table.their_name(name)) is not None}
    wanted = [name for row in rows for name in row.sources]
    if absent := [name for name in wanted if name not in found]:
        raise GroundupError(f"{source.path}: {_listed(absent, 'missing')}; the file is incomplete or of another model")
    extra = set(found) - set(wanted)
    if source.config.tie_embeddings:
        extra.discard(table.head.theirs)  # a repeated head is compared, see _check_tied
    if extra:
        raise GroundupError(
            f"{source.path}: {_listed([found[name] for name in sorted(extra)], 'unexpected')}; "
            "config.json has no place for it"
        )
    return found


def _check_tied(source: ModelSource, table: WeightTable, found: dict[str, str]) -> None:
    """A tied model's file may repeat the embedding as the head; a head of its own would be lost, so it is refused."""
    embedding = next(row.theirs for row in table.rows if row.ours == "token_embedding.weight")
    tensors, names = source.tensors, (found[table.head.theirs], found[embedding])
    kinds = [(tensors.shape(name), tensors.dtype(name)) for name in names]
    same = kinds[0] == kinds[1] and all(
        torch.equal(piece.clone(), tensors.read(names[1], start, start + len(piece)))
        for start, piece in pieces(tensors, names[0])
    )
    if not same:
        raise GroundupError(
            f"{source.path}: config.json ties the head to the embedding, but {table.head.theirs} differs from {embedding}; "
            "set tie_word_embeddings to false in config.json if the head is its own"
        )


def _listed(names: list[str], what: str) -> str:
    others = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{what} {'tensors' if len(names) > 1 else 'tensor'} {', '.join(names[:3])}{others}"
