"""Packed files, opened as streams: gzip, bzip2, xz, Zstandard, and the members of a zip.

One idea: unpacking is watched. Text packs to a third or a tenth of its size; what grows a thousandfold is made to fill a
machine. Past a hundred megabytes a stream may not have grown by more than `LARGEST_RATIO`, and a member of a zip that
promises more is refused before it is opened. (Deflate itself ends at 1,032 to 1: D. Fifield, A better zip bomb, 2019.)
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

from groundup.core.errors import missing_extra
from groundup.core.files import readable_bytes
from groundup.data.remarks import Unreadable

COMPRESSIONS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
LARGEST_RATIO = 300
HARMLESS_BYTES = 100_000_000

DAMAGE = (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError)


class Unpacked:
    """A file being unpacked: `read` gives plain bytes; one that swells beyond reason or breaks is refused by name."""

    def __init__(self, packed: BinaryIO, compression: str, place: object) -> None:
        self._packed = packed
        self._stream = _open_stream(packed, compression, place)
        self._compression = compression
        self._place = place
        self._n_bytes = 0

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._stream.read(size)
        except (*DAMAGE, OSError) as error:
            raise Unreadable(self._place, f"damaged or no {self._compression} file: {error}; get it again") from error
        self._n_bytes += len(data)
        if self._n_bytes > HARMLESS_BYTES and self._n_bytes > LARGEST_RATIO * max(self._packed.tell(), 1):
            raise Unreadable(
                self._place,
                f"unpacks to more than {LARGEST_RATIO} times its size ({readable_bytes(self._n_bytes)} so far), "
                "as files made to fill a disk do; unpack it yourself if it is honest",
            )
        return data

    def close(self) -> None:
        self._stream.close()
        self._packed.close()

    def __enter__(self) -> Unpacked:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _open_stream(packed: BinaryIO, compression: str, place: object) -> BinaryIO:
    if compression == "gzip":
        return cast(BinaryIO, gzip.open(packed))
    if compression == "bzip2":
        return cast(BinaryIO, bz2.open(packed))
    if compression == "xz":
        return cast(BinaryIO, lzma.open(packed))
    try:
        import pyarrow
    except ImportError:
        raise missing_extra("pyarrow", "parquet", f"reading {place}") from None
    return cast(BinaryIO, pyarrow.CompressedInputStream(packed, "zstd"))  # which tells a file cut off


def zip_members(path: Path) -> list[zipfile.ZipInfo]:
    """The files of a zip archive that are not hidden, sorted by name.

    Raises `Unreadable` for a damaged or encrypted archive, and for one that unpacks to more than is reasonable.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted((m for m in archive.infolist() if not m.is_dir()), key=lambda member: member.filename)
    except (*DAMAGE, UnicodeDecodeError, ValueError) as error:
        raise Unreadable(path, f"damaged or no zip archive: {error}; get it again") from error
    unpacked, packed = sum(m.file_size for m in members), max(path.stat().st_size, 1)
    if unpacked > HARMLESS_BYTES and unpacked > LARGEST_RATIO * packed:
        raise Unreadable(
            path,
            f"{readable_bytes(packed)} that would unpack to {readable_bytes(unpacked)}, more than {LARGEST_RATIO} times "
            "as much, as files made to fill a disk do; unpack it yourself if it is honest",
        )
    visible = [m for m in members if not any(p.startswith((".", "__MACOSX")) for p in m.filename.split("/"))]
    for member in visible:
        if member.flag_bits & 1:
            raise Unreadable(path, f"{member.filename} in it is encrypted; unpack it with its password first")
    return visible


def open_member(path: Path, stamp: str, member: str) -> BinaryIO:
    """One file of a zip archive, as a stream."""
    return cast(BinaryIO, _archive(path, stamp).open(member))


@lru_cache(maxsize=1)
def _archive(path: Path, stamp: str) -> zipfile.ZipFile:
    """The archive read last stays open, so that each of its thousand files does not read its table anew."""
    return zipfile.ZipFile(path)
