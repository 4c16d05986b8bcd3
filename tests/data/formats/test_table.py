from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data.formats import table
from groundup.data.reading import Reading, read_documents, read_rows
from groundup.data.sources import list_sources


def rows(path: Path, remarks: Counter[str] | None = None, **how) -> list[tuple[int, dict]]:
    (source,) = list_sources(path)
    return list(read_rows(source, Reading(**how), Counter() if remarks is None else remarks))


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_rows_have_the_names_of_the_first_line_and_their_last_line_as_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id, text\n1,"two\nlines"\n2,x\n')
    assert rows(path) == [(3, {"id": "1", "text": "two\nlines"}), (4, {"id": "2", "text": "x"})]


def test_a_table_without_names_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "a fine film\t1\na bad film\t0\nfine again\t1\n")
    remarks: Counter[str] = Counter()
    assert rows(path, remarks) == [
        (1, {"1": "a fine film", "2": "1"}), (2, {"1": "a bad film", "2": "0"}), (3, {"1": "fine again", "2": "1"}),
    ]  # fmt: skip
    assert list(remarks) == [f"tables without a line of names: their columns are called 1, 2, ... (first: {path})"]
    assert [d.text for d in read_documents(path, map={"text": "1"})] == ["a fine film", "a bad film", "fine again"]
    words = write(tmp_path / "b.tsv", "good\ta fine film\nbad\tnot so fine\ngood\tfine again\n")
    assert rows(words)[0] == (1, {"1": "good", "2": "a fine film"})  # the label comes again, a name would not


def test_names_are_names(tmp_path: Path) -> None:
    assert rows(write(tmp_path / "a.tsv", "Label\tSMS\nham\thello there\n")) == [
        (2, {"Label": "ham", "SMS": "hello there"})
    ]
    assert rows(write(tmp_path / "a.csv", "colour,words\nred,x\n")) == [(2, {"colour": "red", "words": "x"})]
    # A person names a column: then there are names, whatever they look like.
    assert rows(write(tmp_path / "a.csv", "x1,7\nx,y\n"), text_field="x1") == [(2, {"x1": "x", "7": "y"})]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_marks_between_columns_are_told(tmp_path: Path, mark: str) -> None:
    path = write(tmp_path / "a.csv", f"id{mark}text\n1{mark}one, two\n")
    remarks: Counter[str] = Counter()
    assert rows(path, remarks) == [(2, {"id": "1", "text": "one, two"})]
    assert list(remarks) == [f"tables whose columns {mark!r} divides, not a comma (first: {path})"]


def test_bad_rows_stop_or_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,text\n1,x\n2\n")
    with pytest.raises(
        GroundupError, match=r"a\.csv:3: the row has 1 columns, but 2 columns are named.*on_bad_row skip"
    ):
        rows(path)
    write(path, 'id,text\n1,x\n2\n3,"a"b\n4,y\n')
    remarks: Counter[str] = Counter()
    assert [row["text"] for _, row in rows(path, remarks, on_bad_row="skip")] == ["x", "y"]
    assert remarks == {
        f"rows rejected: the row has 1 columns (first: {path}:3)": 1,
        f"rows rejected: not valid CSV (first: {path}:4)": 1,
    }


def test_an_open_quote_does_not_take_the_whole_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(table, "LARGEST_FIELD", 10_000)
    path = write(tmp_path / "a.csv", 'id,text\n1,"open\n' + "2,words and more words\n" * 10_000)
    with pytest.raises(GroundupError, match=r"a\.csv:\d+: not valid CSV: field larger than field limit"):
        rows(path)


def test_a_file_that_is_one_line_without_end_is_no_table(tmp_path: Path, monkeypatch) -> None:
    from groundup.data import decoding

    monkeypatch.setattr(decoding, "LONGEST_LINE", 1_000_000)
    path = write(tmp_path / "a.jsonl", '{"text": "' + "x" * 2_000_000)
    with pytest.raises(GroundupError, match=r"no line end in .* characters, so these are no rows"):
        rows(path)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(GroundupError, match=r"a\.csv:1: two columns are called 'text'"):
        rows(write(tmp_path / "a.csv", "text,text\na,b\n"))


def test_the_standard_library_writes_what_is_read(tmp_path: Path) -> None:
    wanted = [{"text": 'a "quoted", thing\n', "label": str(i)} for i in range(200)]
    with open(tmp_path / "a.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(wanted)
    assert [row for _, row in rows(tmp_path / "a.csv")] == wanted
