"""Tables in columns: Parquet, and Arrow as `datasets.save_to_disk` and Feather write it; a few rows in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from groundup.core.errors import missing_extra
from groundup.data.formats.rows import NumberedRow, Wanted
from groundup.data.remarks import Unreadable
from groundup.data.sources import Source

if TYPE_CHECKING:
    from groundup.data.reading import Reading

_ROWS_AT_ONCE = 64


def column_rows(
    source: Source, file: BinaryIO, reading: Reading, remarks: Counter[str], wanted: Wanted
) -> Iterator[NumberedRow]:
    """The rows of a Parquet or Arrow table; only the columns that are `wanted` are read."""
    try:
        import pyarrow
    except ImportError:
        raise missing_extra("pyarrow", "parquet", f"reading {source}") from None
    number = 0
    try:
        for batch in _parquet(file, wanted) if source.kind == "parquet" else _arrow(file, wanted):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise Unreadable(source, f"cannot be read as {source.kind.capitalize()}: {error}") from error


def _parquet(file: BinaryIO, wanted: Wanted) -> Iterator[Any]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as table:
        yield from table.iter_batches(batch_size=_ROWS_AT_ONCE, columns=wanted(table.schema_arrow.names))


def _arrow(file: BinaryIO, wanted: Wanted) -> Iterator[Any]:
    """Feather is Arrow's file layout, `save_to_disk` its stream; the one has a mark at its beginning."""
    import pyarrow.ipc

    begin = file.read(6)
    file.seek(0)
    if begin == b"ARROW1":
        with pyarrow.ipc.open_file(file) as table:
            batches = (table.get_batch(index) for index in range(table.num_record_batches))
            yield from _small(batches, wanted(table.schema.names))
    else:
        with pyarrow.ipc.open_stream(file) as table:
            yield from _small(iter(table), wanted(table.schema.names))


def _small(batches: Iterator[Any], columns: list[str] | None) -> Iterator[Any]:
    for batch in batches:
        batch = batch if columns is None else batch.select(columns)
        for begin in range(0, batch.num_rows, _ROWS_AT_ONCE):
            yield batch.slice(begin, _ROWS_AT_ONCE)
