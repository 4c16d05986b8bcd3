"""Parquet tables: one document a row, a few rows in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from groundup.core.errors import GroundupError, missing_extra
from groundup.data.formats.rows import CHOOSE, listed
from groundup.data.sources import Source

if TYPE_CHECKING:
    from groundup.data.reading import Piece, Reading


def parquet_pieces(source: Source, reading: Reading, remarks: Counter[str]) -> Iterator[Piece]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("pyarrow", "parquet", f"reading {source.path}") from None
    field = reading.field
    try:
        with pyarrow.parquet.ParquetFile(source.path, pre_buffer=False, buffer_size=1 << 20) as table:
            names = table.schema_arrow.names
            if field not in names:
                raise GroundupError(f"{source.path}: no column {field!r}; it has {listed(names)}: {CHOOSE}")
            kind = table.schema_arrow.field(field).type
            if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
                raise GroundupError(f"{source.path}: column {field!r} holds {kind}, not text")
            for rows in table.iter_batches(batch_size=64, columns=[field]):
                for text in rows.column(0).to_pylist():
                    if text:
                        yield text, True
                    else:
                        remarks["rows without text, left out"] += 1
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise GroundupError(f"{source.path} cannot be read as Parquet: {error}") from error
