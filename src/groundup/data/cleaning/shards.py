"""The kept documents on disk: rows with their text, where it came from and what was changed.

The one idea: files of a bounded size that any tool reads, and the same bytes whenever the same documents are written: the
gzip header carries no time and no name.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, BinaryIO

from groundup.core.errors import missing_extra
from groundup.core.files import sha256_of

_ROWS_BYTES = 1 << 24  # text of the rows that Parquet writes as one group


class ShardWriter:
    """Writes rows `{id, source, text, changes}` into files of about `shard_size` bytes of text, in `folder`."""

    def __init__(self, folder: Path, format: str, shard_size: int) -> None:
        self._folder = folder
        self._shard_size = shard_size
        self._open = _JsonLines if format == "jsonl" else _Parquet
        self._file: _JsonLines | _Parquet | None = None
        self._held = self._rows = 0
        self.files: list[dict[str, Any]] = []

    def add(self, id: str, source: str, text: str, changes: dict[str, int], n_bytes: int) -> None:
        if self._file is None:
            self._file = self._open(self._folder / f"part-{len(self.files):05d}{self._open.suffix}")
        self._file.write({"id": id, "source": source, "text": text, "changes": changes}, n_bytes)
        self._held += n_bytes
        self._rows += 1
        if self._held >= self._shard_size:
            self.finish()

    def finish(self) -> None:
        """Close the file that is open, if any, and note what it holds."""
        if self._file is None:
            return
        self._file.close()
        path = self._file.path
        self.files.append({"file": path.name, "documents": self._rows, "bytes": self._held, "sha256": sha256_of(path)})
        self._file, self._held, self._rows = None, 0, 0


class _JsonLines:
    suffix = ".jsonl.gz"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._raw: BinaryIO = open(path, "wb")  # noqa: SIM115 (closed by `close`)
        # Level 3 writes four times as fast as gzip's usual 6, for a tenth more bytes.
        self._file = gzip.GzipFile(filename="", mode="wb", compresslevel=3, fileobj=self._raw, mtime=0)

    def write(self, row: dict[str, Any], n_bytes: int) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")

    def close(self) -> None:
        self._file.close()
        self._raw.close()


class _Parquet:
    suffix = ".parquet"

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise missing_extra("pyarrow", "parquet", "writing Parquet") from None
        self.path = path
        self._arrow = pyarrow
        text = pyarrow.string()
        self._schema = pyarrow.schema([(name, text) for name in ("id", "source", "text", "changes")])
        self._file = pyarrow.parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._held = 0

    def write(self, row: dict[str, Any], n_bytes: int) -> None:
        self._rows.append(row | {"changes": json.dumps(row["changes"])})
        self._held += n_bytes
        if self._held >= _ROWS_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._file.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows, self._held = [], 0

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._file.close()
