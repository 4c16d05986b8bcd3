from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data.reading import read_documents
from groundup.data.reading_records import read_records
from groundup.data.records import Conversation

pyarrow = pytest.importorskip("pyarrow")
feather = pytest.importorskip("pyarrow.feather")
parquet = pytest.importorskip("pyarrow.parquet")


def texts(path: Path, **how) -> list[str]:
    return [document.text for document in read_documents(path, **how)]


@pytest.fixture
def table():
    return pyarrow.table({"id": range(300), "text": [f"Row {i}" for i in range(300)]})


def save_to_disk(table, folder: Path, n_files: int = 2) -> None:
    """As `datasets.Dataset.save_to_disk` lays a dataset out: Arrow streams, and a state that names them."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05d}-of-{n_files:05d}.arrow" for i in range(n_files)]
    step = len(table) // n_files
    for i, name in enumerate(names):
        part = table.slice(i * step, step)
        with pyarrow.OSFile(str(folder / name), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(part, max_chunksize=1000)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))


def test_a_saved_dataset_and_its_files(tmp_path: Path, table) -> None:
    save_to_disk(table, tmp_path / "saved")
    wanted = [f"Row {i}" for i in range(300)]
    assert texts(tmp_path / "saved") == wanted
    assert texts(tmp_path / "saved/data-00001-of-00002.arrow") == wanted[150:]


def test_feather(tmp_path: Path, table) -> None:
    feather.write_feather(table, tmp_path / "a.feather")
    assert texts(tmp_path / "a.feather") == [f"Row {i}" for i in range(300)]
    assert texts(tmp_path / "a.feather", text_field="text") == texts(tmp_path / "a.feather")


def test_nested_columns_are_conversations(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    parquet.write_table(pyarrow.table({"messages": [messages] * 3}), tmp_path / "a.parquet")
    records = list(read_records(tmp_path / "a.parquet"))
    assert len(records) == 3
    assert isinstance(records[0], Conversation)
    assert records[0].messages == tuple(messages)


def test_damaged_tables_are_named(tmp_path: Path, table) -> None:
    feather.write_feather(table, tmp_path / "a.feather")
    content = (tmp_path / "a.feather").read_bytes()
    for name, bad in {"cut.arrow": content[: len(content) // 2], "none.arrow": b"no arrow table at all"}.items():
        (tmp_path / name).write_bytes(bad)
        with pytest.raises(GroundupError, match=rf"{name}: cannot be read as Arrow"):
            texts(tmp_path / name)


def test_only_the_text_is_read_from_the_disk(tmp_path: Path, monkeypatch) -> None:
    parquet.write_table(pyarrow.table({"text": ["a"], "other": ["b"]}), tmp_path / "a.parquet")
    asked = []
    whole = parquet.ParquetFile.iter_batches

    def iter_batches(self, *arguments, columns=None, **how):
        asked.append(columns)
        return whole(self, *arguments, columns=columns, **how)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", iter_batches)
    assert texts(tmp_path / "a.parquet") == ["a"]
    assert asked == [["text"]]
