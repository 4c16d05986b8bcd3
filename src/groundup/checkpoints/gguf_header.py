"""The GGUF file as bytes: settings by key, and tensors by name with their shape, type and place.

The layout is that of the specification (ggml-org/ggml, docs/gguf.md, versions 2 and 3). The reader of the `gguf` library
makes two arrays of every string, which takes seconds for a vocabulary; this one takes a tenth of one. What the
numbers of a block mean is the library's knowledge: `rows` gives them to its `dequantize`.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groundup.core.errors import GroundupError, missing_extra

MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
# Value types by their number in the specification, as `struct` names them.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# Types that are plain numbers, by their number in the specification.
_PLAIN = {0: (torch.float32, np.float32), 1: (torch.float16, np.float16), 30: (torch.bfloat16, np.uint16)}


@dataclass(frozen=True)
class Stored:
    """A tensor in the file: its shape as torch has it (rows first), the number of its type, and where it begins."""

    shape: tuple[int, ...]
    kind: int
    start: int


class GGUFFile:
    """An open GGUF file: `fields` by key, `tensors` by name; numbers are read when asked for."""

    def __init__(self, path: str | Path) -> None:
        """Read the header; raises GroundupError when the file is no GGUF, of another version, or cut short."""
        self.path = Path(path)
        self._quants = library()
        # By plain reads: pages of a mapped file would count as memory of this process.
        self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115
        self._size = self.path.stat().st_size
        if self._file.read(4) != MAGIC:
            raise GroundupError(f"{path} is no GGUF file: it does not begin with 'GGUF'")
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as self._bytes:
            self._at = 4
            try:
                version = self._scalar("I")
                if version not in (2, 3):
                    raise GroundupError(
                        f"{path} is of GGUF version {version}; versions 2 and 3 of little-endian files are read here"
                    )
                self._read_header()
            except (struct.error, IndexError, KeyError, ValueError) as error:
                if isinstance(error, GroundupError):
                    raise
                raise self._damaged(f"the header breaks off at byte {self._at:,}") from None

    def _read_header(self) -> None:
        n_tensors, n_fields = self._scalar("Q"), self._scalar("Q")
        self.fields: dict[str, Any] = {}
        for _ in range(n_fields):
            key = self._string()
            self.fields[key] = self._value(self._scalar("I"))
        places = {}
        for _ in range(n_tensors):
            name = self._string()
            shape = tuple(self._scalar("Q") for _ in range(self._scalar("I")))[::-1]
            places[name] = (shape, self._scalar("I"), self._scalar("Q"))
        alignment = self.fields.get("general.alignment", 32)
        first = -(-self._at // alignment) * alignment
        self.tensors = {name: Stored(shape, kind, first + start) for name, (shape, kind, start) in places.items()}
        for name, stored in self.tensors.items():
            self._type(name)
            end = stored.start + math.prod(stored.shape[:-1]) * self._row_bytes(name)
            if end > self._size:
                raise self._damaged(f"tensor {name} ends at byte {end:,}")

    def type_name(self, name: str) -> str:
        """The type a tensor is stored in, such as `Q4_1`."""
        return self._type(name).name

    def dtype(self, name: str) -> torch.dtype:
        """What `rows` gives: the type as stored for plain numbers, float32 for blocks."""
        kind = self.tensors[name].kind
        return _PLAIN[kind][0] if kind in _PLAIN else torch.float32

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` of a tensor taken as a matrix (all dimensions but the last together), on the CPU."""
        stored, row_bytes = self.tensors[name], self._row_bytes(name)
        width, place = stored.shape[-1], stored.start + start * row_bytes
        raw = np.empty((stop - start) * row_bytes, np.uint8)
        self._file.seek(place)
        if self._file.readinto(raw.data) != len(raw):
            raise self._damaged(f"tensor {name} breaks off")
        if stored.kind in _PLAIN:
            dtype, numpy_type = _PLAIN[stored.kind]
            return torch.from_numpy(raw.view(numpy_type).reshape(-1, width)).view(dtype)
        try:
            numbers = self._quants.dequantize(raw.reshape(-1, row_bytes), self._type(name))
        except NotImplementedError:
            raise GroundupError(
                f"{self.path}: tensor {name} is of type {self.type_name(name)}, which the gguf library cannot turn into "
                "numbers; get the model in another type (Q8_0, F16)"
            ) from None
        return torch.from_numpy(np.ascontiguousarray(numbers, np.float32))

    def _type(self, name: str) -> Any:
        try:
            return self._quants.GGMLQuantizationType(self.tensors[name].kind)
        except ValueError:
            raise GroundupError(
                f"{self.path}: tensor {name} is of type {self.tensors[name].kind}, which the gguf library installed here "
                "does not know; a newer one may (pip install -U gguf)"
            ) from None

    def _row_bytes(self, name: str) -> int:
        block, block_bytes = self._quants.GGML_QUANT_SIZES[self._type(name)]
        return self.tensors[name].shape[-1] // block * block_bytes

    def _scalar(self, kind: str) -> Any:
        value = struct.unpack_from(f"<{kind}", self._bytes, self._at)[0]
        self._at += struct.calcsize(kind)
        return value

    def _string(self) -> str:
        length = self._scalar("Q")
        if length > len(self._bytes) - self._at:
            raise IndexError
        start, self._at = self._at, self._at + length
        # Old files cut the tokens of half a character as bytes; they stay recognisable.
        return self._bytes[start : self._at].decode("utf-8", errors="surrogateescape")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._scalar(_SCALARS[kind])
        inner, length = self._scalar("I"), self._scalar("Q")
        if length > len(self._bytes) - self._at:
            raise IndexError
        if inner in _SCALARS:
            values = list(struct.unpack_from(f"<{length}{_SCALARS[inner]}", self._bytes, self._at))
            self._at += struct.calcsize(f"<{length}{_SCALARS[inner]}")
            return values
        return [self._value(inner) for _ in range(length)]

    def _damaged(self, what: str) -> GroundupError:
        return GroundupError(
            f"{self.path} is damaged or cut short: {what}, and the file has {self._size:,}; copy or download it again"
        )


def library() -> Any:
    """The `gguf` package; raises the error that names its extra where it is absent."""
    try:
        import gguf
    except ImportError:
        raise missing_extra("gguf", "gguf", "reading or writing a GGUF file") from None
    return gguf
