"""Decoding: from the bytes of a file to text, a block at a time; a wrong byte is named by its place."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from groundup.core.errors import GroundupError
from groundup.data.sources import check_is_text, convert

BLOCK_BYTES = 1 << 18


def binary_blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block
    yield b""


def line_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Blocks that end with a whole line (so a row of any length is one piece), then the empty block."""
    parts: list[bytes] = []
    while block := file.read(BLOCK_BYTES):
        cut = block.rfind(b"\n") + 1
        if cut:
            yield b"".join((*parts, block[:cut]))
            parts = []
        parts.append(block[cut:])
    if rest := b"".join(parts):
        yield rest
    yield b""


def decoded(path: Path, blocks: Iterator[bytes]) -> Iterator[str]:
    """UTF-8 to text; the last block is the empty one. A byte that is no UTF-8 is named by its place in the file."""
    position, tail, is_first = 0, b"", True
    for block in blocks:
        data = tail + block
        try:
            text, used = codecs.utf_8_decode(data, "strict", not block)
        except UnicodeDecodeError as error:
            raise _encoding_error(path, position + error.start, data[error.start : error.start + 1]) from None
        position, tail = position + used, data[used:]
        if is_first and text:
            check_is_text(path, data[: 1 << 12])
            text, is_first = text.removeprefix("\ufeff"), False
        if text:
            yield text


def _encoding_error(path: Path, position: int, byte: bytes) -> GroundupError:
    return GroundupError(
        f"{path} is not UTF-8: byte {position:,} is 0x{byte.hex()}; if it was written in an old Windows "
        f"encoding, {convert(path, 'WINDOWS-1252')}"
    )
