from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.core.errors import GroundupError
from groundup.data import decoding
from groundup.data.formats.rows import all_columns
from groundup.data.reading import Reading, read_documents, read_rows
from groundup.data.sources import list_sources


def rows(path: Path, **how) -> list[tuple[int, dict]]:
    (source,) = list_sources(path)
    return list(read_rows(source, Reading(**how), Counter(), all_columns))


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


@pytest.mark.parametrize("block", [1, 3, 1 << 18])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_gives_its_rows_with_their_lines(tmp_path: Path, monkeypatch, block: int, indent: int | None) -> None:
    monkeypatch.setattr(decoding, "BLOCK_BYTES", block)
    wanted = [{"text": 'a "b" ] }, {\n', "n": [1, {"x": None}]}, {}, {"text": "ü😀\u2028"}, {"n": 1.5e10}]
    path = write(tmp_path / "a.json", "\n\n " + json.dumps(wanted, indent=indent, ensure_ascii=False) + "\n")
    found = rows(path)
    assert [row for _, row in found] == wanted
    lines = path.read_text().split("\n")
    assert all(lines[number - 1].lstrip(" [").startswith("{") for number, _ in found)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.dictionaries(st.text(max_size=4), json_values, max_size=4), max_size=6),
    st.integers(1, 40),
    st.booleans(),
)
def test_reading_in_pieces_equals_reading_the_whole(
    tmp_path_factory, wanted: list[dict], block: int, ascii: bool
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(wanted, ensure_ascii=ascii, indent=1 if block % 2 else None))
    old, decoding.BLOCK_BYTES = decoding.BLOCK_BYTES, block
    try:
        assert [row for _, row in rows(path)] == wanted
    finally:
        decoding.BLOCK_BYTES = old


@pytest.mark.parametrize("block", [2, 1 << 18])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "x"},\n {"text": }]', r"a\.json:2: not valid JSON \(Expecting value\)"),
        ('[{"text": "x"},\n {"text": "y"}', r"a\.json:2: the list does not end: the file is cut off"),
        ('[{"text": "x"},\n {"text": "y', r"a\.json:2: not valid JSON \(Unterminated string"),
        ('[{"text": "x"},\n\n 7]', r"a\.json:3: a row is an object .*this is 7"),
        ("7", r"a\.json: no JSON list or object"),
        ('{"rows": [{}], "data": [{}]}', r"a\.json: several lists of rows in one object \('rows', 'data'\)"),
        ('{"text": ', r"a\.json:1: not valid JSON"),
        ("[" * 100_000, r"a\.json:1: JSON nested too deeply|a row is an object|not valid|not end"),
        ('[{"a":' * 50_000, r"a\.json:1: JSON nested too deeply|not valid|not end"),
    ],
)
def test_what_is_wrong_is_named_by_line(tmp_path: Path, monkeypatch, content: str, message: str, block: int) -> None:
    if block == 2 and len(content) > 1000:
        pytest.skip("slow in pieces of two bytes")
    monkeypatch.setattr(decoding, "BLOCK_BYTES", block)
    with pytest.raises(GroundupError, match=message):
        rows(write(tmp_path / "a.json", content))


def test_objects_are_unwrapped(tmp_path: Path) -> None:
    assert rows(write(tmp_path / "a.json", '{"version": 1, "data": [{"text": "x"}, {"text": "y"}]}')) == [
        (1, {"text": "x"}), (2, {"text": "y"}),
    ]  # fmt: skip
    for alone in ({"text": "alone"}, {"added_tokens": [{"content": "x"}]}):  # a tokenizer.json is no list of texts
        assert rows(write(tmp_path / "a.json", json.dumps(alone))) == [(1, alone)]
    squad = {"data": [{"title": "T", "paragraphs": [{"context": "c1", "qas": []}, {"context": "c2", "qas": []}]}]}
    assert [row["context"] for _, row in rows(write(tmp_path / "a.json", json.dumps(squad)))] == ["c1", "c2"]


def test_json_lines_under_the_name_of_json(tmp_path: Path) -> None:
    assert rows(write(tmp_path / "a.json", '{"text": "x"}\n{"text": "y"}\n')) == [
        (1, {"text": "x"}),
        (2, {"text": "y"}),
    ]


def test_memory_does_not_grow_with_the_list(tmp_path: Path) -> None:
    with open(tmp_path / "long.json", "w") as file:
        file.write("[")
        file.write(
            ",\n".join(
                json.dumps({"text": f"Row {i} with some words in it to make it longer." * 3}) for i in range(20_000)
            )
        )
        file.write("]")
    (source,) = list_sources(tmp_path / "long.json")  # 3 MB
    tracemalloc.start()
    n = sum(1 for _ in read_rows(source, Reading(), Counter()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 20_000
    assert peak < 2_500_000


def test_a_json_file_of_something_else_is_counted_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "package.json", '{"name": "thing", "version": "1.0"}')
    write(tmp_path / "rows.json", '[{"text": "x"}]')
    remarks: Counter[str] = Counter()
    assert [d.text for d in read_documents(tmp_path, remarks=remarks)] == ["x"]
    (remark,) = remarks
    assert remark.startswith("files left out: no field 'text'; it has 'name', 'version'")
