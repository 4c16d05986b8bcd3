"""Weights on disk: `model.safetensors`, or shards and a `model.safetensors.index.json` that says which holds what.

Safetensors is a JSON header and raw numbers: nothing in it can run. Pickled weights (`pytorch_model.bin`) can run any
code when opened, so they are refused, with the way to convert them. Tensors are read and written one by one, so memory
holds one copy of a model, not two.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from groundup.core.errors import GroundupError
from groundup.core.files import read_json, write_json

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000


def write_tensors(
    folder: Path, n_bytes: dict[str, int], tensor: Callable[[str], Tensor], shard_bytes: int = SHARD_BYTES
) -> None:
    """Write the tensors named in `n_bytes` (name to size on disk), asking `tensor(name)` for each when its turn comes.

    One file up to `shard_bytes`, otherwise shards of at most that (a larger single tensor gets its own) and an index.
    """
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in n_bytes.items():
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    if len(shards) == 1:
        files = [SINGLE_FILE]
    else:
        files = [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    for file, names in zip(files, shards, strict=True):
        # Other tools look for this note to know which library's layout the numbers follow.
        save_tensors({name: tensor(name) for name in names}, folder / file, metadata={"format": "pt"})
    if len(shards) > 1:
        places = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        write_json(folder / INDEX_FILE, {"metadata": {"total_size": sum(n_bytes.values())}, "weight_map": places})


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file; the system's errors come as `OSError`, as from any other write."""
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:  # it wraps the system's errors, and loses their kind
        raise _system_error(error) from error


def _system_error(error: SafetensorError) -> OSError:
    """The operating system's error inside a safetensors error, e.g. `... Os { code: 28, kind: StorageFull, ... }`."""
    text = str(error)
    digits = text.partition("code: ")[2] or text.partition("os error ")[2]
    number = digits[: len(digits) - len(digits.lstrip("0123456789"))]
    return OSError(int(number) if number else 5, text)


@dataclass(frozen=True)
class _Place:
    """Where the numbers of a tensor lie."""

    file: BinaryIO
    path: Path
    begin: int  # bytes from the beginning of the file
    shape: tuple[int, ...]
    dtype: torch.dtype


class TensorFiles:
    """The tensors in a folder's safetensors files, a `TensorSource`; the files stay open until it is let go."""

    def __init__(self, folder: Path) -> None:
        """Read every file's header; raises GroundupError when files are missing, broken or pickled."""
        files = _files(folder)
        self._places = {name: place for file in files for name, place in _open(file).items()}
        self.names = sorted(self._places)
        if len(files) > 1:
            index = folder / INDEX_FILE
            absent = sorted(set(read_json(index)["weight_map"]) - set(self.names))
            if absent:
                raise GroundupError(f"{index} promises tensor {absent[0]!r}, which no shard holds; download it again")

    def shape(self, name: str) -> tuple[int, ...]:
        return self._places[name].shape

    def dtype(self, name: str) -> torch.dtype:
        return self._places[name].dtype

    def file(self, name: str) -> Path:
        return self._places[name].path

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Rows of a tensor, by plain reads: pages of a mapped file would count as memory of this process."""
        place = self._places[name]
        rows = torch.empty((stop - start, *place.shape[1:]), dtype=place.dtype)
        if rows.numel():
            content = memoryview(rows.view(-1).view(torch.uint8).numpy())
            try:
                place.file.seek(place.begin + start * (len(content) // (stop - start)))
                n_read = place.file.readinto(content)  # pyright: ignore[reportAttributeAccessIssue]
            except OSError as error:
                raise _broken(place.path, error) from None
            if n_read != len(content):
                raise _broken(place.path, f"tensor {name} ends early")
        return rows


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


# What safetensors calls the dtypes that weights are stored in, and those of masks and counts beside them.
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


def _open(path: Path) -> dict[str, _Place]:
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
        places[name] = _Place(file, path, begin, tuple(entry["shape"]), _DTYPES[entry["dtype"]])
    return places


def _broken(file: Path, error: Exception | str) -> GroundupError:
    return GroundupError(
        f"{file} is damaged or cut short ({error}; {file.stat().st_size:,} bytes here); copy or download it again"
    )
