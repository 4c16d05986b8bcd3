"""Weights on disk: `model.safetensors`, or shards and a `model.safetensors.index.json` that says which holds what.

Safetensors is a JSON header and raw numbers: nothing in it can run. Pickled weights (`pytorch_model.bin`) can run any
code when opened, so they are refused, with the way to convert them. Tensors are read and written in pieces of a few
megabytes, converted on the way, so memory holds one copy of a model, not two. The format is described at
https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from groundup.checkpoints.sources import row_ranges
from groundup.core.errors import GroundupError
from groundup.core.files import read_json, write_json

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000
# What safetensors calls the dtypes of weights, and of the masks and counts that may lie beside them.
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def write_tensors(folder: Path, tensors: dict[str, Tensor], dtype: torch.dtype, shard_bytes: int = SHARD_BYTES) -> None:
    """Write tensors (views will do) in `dtype`: one file up to `shard_bytes`, otherwise shards and an index.

    A shard holds at most `shard_bytes`; a larger single tensor gets its own.
    """
    shards: list[dict[str, Tensor]] = [{}]
    filled = total = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * dtype.itemsize
        if shards[-1] and filled + size > shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor
        filled, total = filled + size, total + size
    if len(shards) == 1:
        files = [SINGLE_FILE]
    else:
        files = [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    for file, shard in zip(files, shards, strict=True):
        # Other tools look for this note to know which library's layout the numbers follow.
        save_tensors(shard, folder / file, dtype=dtype, metadata={"format": "pt"})
    if len(shards) > 1:
        places = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
        write_json(folder / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": places})


def save_tensors(
    tensors: dict[str, Tensor],
    path: Path,
    *,
    dtype: torch.dtype | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write a safetensors file piece by piece, from any device; `dtype` is that of the file (None: each its own)."""
    stored = {name: dtype or tensor.dtype for name, tensor in tensors.items()}
    # Large numbers first, so that each lies at a multiple of its size; within a dtype by name, as the library does.
    order = sorted(tensors, key=lambda name: (-stored[name].itemsize, name))
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name in order:
        begin, end = end, end + tensors[name].numel() * stored[name].itemsize
        shape = list(tensors[name].shape)
        header[name] = {"dtype": _DTYPE_NAMES[stored[name]], "shape": shape, "data_offsets": [begin, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with open(path, "wb", buffering=0) as file:
        _write_all(file, len(encoded).to_bytes(8, "little") + encoded)
        for name in order:
            rows = torch.atleast_1d(tensors[name].detach())
            for start, stop in row_ranges(tuple(rows.shape), stored[name]):
                piece = rows[start:stop].to("cpu", stored[name]).contiguous()
                _write_all(file, _bytes(piece))


def _write_all(file: Any, content: bytes | memoryview) -> None:
    """Write all of it, though the system may take less at once."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU."""
    return tensor.view(-1).view(torch.uint8).numpy().data


@dataclass(frozen=True)
class Place:
    """Where the numbers of a tensor lie."""

    file: BinaryIO
    path: Path
    begin: int  # bytes from the beginning of the file
    shape: tuple[int, ...]
    dtype: torch.dtype


class RawTensors:
    """Tensors that lie in files as plain numbers, a `TensorSource`; the files stay open until it is let go."""

    def __init__(self, places: dict[str, Place]) -> None:
        self._places = places
        self.names = sorted(places)
        # One for all pieces: memory that comes and goes between parameters would leave holes in the heap.
        self._buffer = torch.empty(0, dtype=torch.uint8)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._places[name].shape

    def dtype(self, name: str) -> torch.dtype:
        return self._places[name].dtype

    def file(self, name: str) -> Path:
        return self._places[name].path

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Rows of a tensor, by plain reads: pages of a mapped file would count as memory of this process."""
        place = self._places[name]
        shape = torch.Size((stop - start, *place.shape[1:]))
        n_bytes = shape.numel() * place.dtype.itemsize
        if n_bytes > len(self._buffer):
            self._buffer = torch.empty(n_bytes, dtype=torch.uint8)
        rows = self._buffer[:n_bytes].view(place.dtype).view(shape)
        if rows.numel():
            content = _bytes(rows)
            try:
                place.file.seek(place.begin + start * (len(content) // (stop - start)))
                n_read = place.file.readinto(content)  # pyright: ignore[reportAttributeAccessIssue]
            except OSError as error:
                raise _broken(place.path, error) from None
            if n_read != len(content):
                raise _broken(place.path, f"tensor {name} ends early")
        return rows


class TensorFiles(RawTensors):
    """The tensors in a folder's safetensors files."""

    def __init__(self, folder: Path) -> None:
        """Read every file's header; raises GroundupError when files are missing, broken or pickled."""
        files = _files(folder)
        super().__init__({name: place for file in files for name, place in _open(file).items()})
        if len(files) > 1:
            index = folder / INDEX_FILE
            absent = sorted(set(read_json(index)["weight_map"]) - set(self.names))
            if absent:
                raise GroundupError(f"{index} promises tensor {absent[0]!r}, which no shard holds; download it again")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of one safetensors file, in memory, each in its own dtype; raises GroundupError when it is damaged."""
    tensors = RawTensors(_open(path))
    return {name: tensors.read(name, 0, tensors.shape(name)[0]).clone() for name in tensors.names}


def _files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder: those of the index, or the single one."""
    if (folder / INDEX_FILE).is_file():
        index = read_json(folder / INDEX_FILE)
        if not isinstance(index, dict) or not isinstance(index.get("weight_map"), dict) or not index["weight_map"]:
            raise GroundupError(f"{folder / INDEX_FILE} has no weight_map; download it again")
        names = sorted(set(index["weight_map"].values()))
        if outside := [name for name in names if Path(name).name != name]:
            raise GroundupError(f"{folder / INDEX_FILE} names {outside[0]!r}, which is outside its folder")
        return [folder / name for name in names]
    if (folder / SINGLE_FILE).is_file():
        return [folder / SINGLE_FILE]
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    if pickled:
        raise GroundupError(
            f"{folder} holds its weights as pickle ({pickled[0]}), which can run any code when opened, and has no "
            "safetensors; use a copy of the model with model.safetensors, or convert one you trust with transformers: "
            "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)"
        )
    raise GroundupError(
        f"{folder} has a config.json but no weights ({SINGLE_FILE} is missing); copy or download it again"
    )


def _open(path: Path) -> dict[str, Place]:
    """The tensors of one safetensors file: eight bytes of length, a JSON header, the numbers."""
    if not path.is_file():
        raise GroundupError(f"{path} is missing, though {INDEX_FILE} names it; copy or download it again")
    try:
        with safe_open(path, framework="numpy"):  # the library judges whether header and size are right
            pass
        file = path.open("rb", buffering=0)
        n_header = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(n_header))
    except (SafetensorError, OSError, ValueError) as error:
        raise _broken(path, error) from None
    header.pop("__metadata__", None)
    places = {}
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise GroundupError(
                f"{path}: tensor {name} is stored as {entry['dtype']}, so these weights are quantised; use the model's "
                "original in bfloat16, float16 or float32"
            )
        begin = 8 + n_header + entry["data_offsets"][0]
        places[name] = Place(file, path, begin, tuple(entry["shape"]), _DTYPES[entry["dtype"]])
    return places


def _broken(file: Path, error: Exception | str) -> GroundupError:
    return GroundupError(
        f"{file} is damaged or cut short ({error}; {file.stat().st_size:,} bytes here); copy or download it again"
    )
