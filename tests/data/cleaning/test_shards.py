"""Kept documents on disk: bounded files, equal bytes."""

from __future__ import annotations

import gzip
import json

import pytest

from groundup.data.cleaning.shards import ShardWriter


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_files_are_bounded_counted_and_equal_when_written_again(tmp_path, format):
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        writer = ShardWriter(folder, format, 100)
        for number in range(10):
            writer.add(f"a#{number}", "a", f"text {number} é" * 3, {"hidden": number}, 30)
        writer.finish()
        assert [(f["documents"], f["bytes"]) for f in writer.files] == [(4, 120), (4, 120), (2, 60)]
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_row_has_its_id_source_text_and_changes(tmp_path):
    writer = ShardWriter(tmp_path, "jsonl", 1000)
    writer.add("a#0", "a", "café\n", {"masked": 2}, 6)
    writer.finish()
    rows = gzip.decompress((tmp_path / "part-00000.jsonl.gz").read_bytes()).decode()
    assert json.loads(rows) == {"id": "a#0", "source": "a", "text": "café\n", "changes": {"masked": 2}}
    assert "café" in rows


def test_nothing_kept_writes_nothing(tmp_path):
    writer = ShardWriter(tmp_path, "jsonl", 1000)
    writer.finish()
    assert writer.files == [] and list(tmp_path.iterdir()) == []
