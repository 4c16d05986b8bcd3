"""Weights on disk: `model.safetensors`, or shards and a `model.safetensors.index.json` that says which holds what.

Safetensors is a JSON header and raw numbers: nothing in it can run. Pickled weights (`pytorch_model.bin`) can run any
code when opened, so they are refused, with the way to convert them. Tensors are read and written one by one, so memory
holds one copy of a model, not two.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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


class TensorFiles:
    """The tensors in a folder's safetensors files, read one at a time; `names` says what there is."""

    def __init__(self, folder: Path) -> None:
        """Read every file's header; raises GroundupError when files are missing, broken or pickled."""
        self._files = {file: _open(file) for file in _files(folder)}
        self._place = {name: file for file, opened in self._files.items() for name in opened.keys()}  # noqa: SIM118
        self.names = sorted(self._place)
        index = folder / INDEX_FILE
        if len(self._files) > 1:
            absent = sorted(set(read_json(index)["weight_map"]) - set(self.names))
            if absent:
                raise GroundupError(f"{index} promises tensor {absent[0]!r}, which no shard holds; download it again")

    def file(self, name: str) -> Path:
        """The file that holds a tensor."""
        return self._place[name]

    def read(self, name: str) -> Tensor:
        """One tensor, as stored."""
        try:
            return self._files[self._place[name]].get_tensor(name)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise _broken(self._place[name], error) from None

    def floating_dtypes(self) -> set[torch.dtype]:
        """The dtypes of all stored tensors that hold fractions."""
        kinds = {self._files[file].get_slice(name).get_dtype() for name, file in self._place.items()}
        known = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
        return {known[kind] for kind in kinds if kind in known}


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


def _open(file: Path) -> safe_open:
    if not file.is_file():
        raise GroundupError(f"{file} is missing, though {INDEX_FILE} names it; copy or download it again")
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise _broken(file, error) from None


def _broken(file: Path, error: Exception) -> GroundupError:
    return GroundupError(
        f"{file} is damaged or cut short ({error}; {file.stat().st_size:,} bytes here); copy or download it again"
    )
