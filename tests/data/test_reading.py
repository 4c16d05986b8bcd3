from __future__ import annotations

import csv
import gzip
import json
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.core.errors import GroundupError
from groundup.data import decoding
from groundup.data.formats import text as text_files
from groundup.data.reading import Reading, read_documents, read_pieces
from groundup.data.sources import list_sources


def texts(path: Path, **how) -> list[str]:
    return [document.text for document in read_documents(path, **how)]


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# ---- text files


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 18])
def test_text_comes_back_to_the_byte(tmp_path: Path, monkeypatch, block: int) -> None:
    monkeypatch.setattr(decoding, "BLOCK_BYTES", block)
    text = "Grüße, 東京 👩‍👧!\r\nline\rline\n\n\x0c\u2028 end "
    assert texts(write(tmp_path / "a.txt", text)) == [text]
    assert texts(write(tmp_path / "b.md", "\ufeff" + text)) == [text]  # a byte order mark is no text
    assert texts(write(tmp_path / "c.txt.gz", gzip.compress(text.encode()))) == [text]


def test_documents_know_their_place(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "one--two"), write(tmp_path / "b.txt", "three")
    found = [(d.text, d.source.name, d.index) for d in read_documents(tmp_path, separator="--")]
    assert found == [("one", "a.txt", 0), ("two", "a.txt", 1), ("three", "b.txt", 0)]


@pytest.mark.parametrize("block", [1, 2, 5, 1 << 18])
@pytest.mark.parametrize("head", [1, 1 << 15])
def test_a_separator_divides_and_takes_the_line_breaks_beside_it(
    tmp_path: Path, monkeypatch, block: int, head: int
) -> None:
    monkeypatch.setattr(decoding, "BLOCK_BYTES", block)
    monkeypatch.setattr(text_files, "HEAD_CHARACTERS", head)
    text = "<|end|>\nOnce,\n\nthere.\n<|end|>\n\nTwice < <|en\n<|end|><|end|>\n<|end|>Thrice\n"
    path = write(tmp_path / "a.txt", text)
    assert texts(path, separator="<|end|>") == ["Once,\n\nthere.", "Twice < <|en", "Thrice"]


@settings(max_examples=150, deadline=None)
@given(
    st.text(alphabet="ab-\n", max_size=60), st.integers(1, 9), st.integers(1, 5), st.sampled_from(["-", "--", "-a-"])
)
def test_separating_in_pieces_equals_splitting_the_whole(text: str, block: int, head: int, separator: str) -> None:
    blocks = (text[i : i + block] for i in range(0, len(text), block))
    found, parts = [], []
    old, text_files.HEAD_CHARACTERS = text_files.HEAD_CHARACTERS, head
    try:
        for piece, ends in text_files._separated(blocks, separator):
            parts.append(piece)
            if ends:
                found.append("".join(parts))
                parts = []
    finally:
        text_files.HEAD_CHARACTERS = old
    assert not parts
    assert found == [stripped for part in text.split(separator) if (stripped := part.strip("\r\n"))]


def test_a_wrong_encoding_is_named_by_file_and_byte(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(decoding, "BLOCK_BYTES", 16)
    content = b"x" * 100 + bytes(range(0x81, 0x100)) + b"y" * 50
    with pytest.raises(GroundupError, match=r"old\.txt: not UTF-8: byte 100 is 0x81, and its encoding cannot be told"):
        texts(write(tmp_path / "old.txt", content))
    with pytest.raises(
        GroundupError, match="byte 2 is 0xc3, after text that was UTF-8, so it is damaged, cut off"
    ):  # a character cut off by the end of the file
        texts(write(tmp_path / "cut.txt", b"ab\xc3"))
    with pytest.raises(GroundupError, match="byte 31 is 0xff"):
        texts(write(tmp_path / "rows.jsonl", b'{"text": "one"}\n{"text": "two"}\xff\n'))


def test_damaged_gzip(tmp_path: Path) -> None:
    whole = gzip.compress(b"text " * 1000)
    for content in (whole[:30], b"no gzip at all", whole[:20] + b"\0\0\0\0" + whole[24:]):
        with pytest.raises(GroundupError, match=r"a\.txt\.gz: damaged or no gzip file"):
            texts(write(tmp_path / "a.txt.gz", content))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("A line of forty characters or so, again.\n" * 500_000)  # 20 MB
    (source,) = list_sources(tmp_path / "long.txt")
    tracemalloc.start()
    n = sum(len(text) for text, _ in read_pieces(source, Reading(), Counter()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 41 * 500_000
    assert peak < 3_000_000


# ---- JSON lines


@pytest.mark.parametrize("block", [1, 10, 1 << 18])
def test_rows_are_documents(tmp_path: Path, monkeypatch, block: int) -> None:
    monkeypatch.setattr(decoding, "BLOCK_BYTES", block)
    rows = [{"text": "one\u2028\n\x85 two", "id": 1}, {"id": 2, "text": "drei 👧"}]
    path = write(
        tmp_path / "a.jsonl", "\ufeff" + "\r\n\n".join(json.dumps(r, ensure_ascii=i) for i, r in enumerate(rows))
    )
    assert texts(path) == [row["text"] for row in rows]
    assert texts(write(tmp_path / "b.jsonl.gz", gzip.compress(path.read_bytes() + b"\n"))) == [
        row["text"] for row in rows
    ]


@pytest.mark.parametrize("block", [1, 10, 1 << 18])
def test_bad_json_is_named_by_line(tmp_path: Path, monkeypatch, block: int) -> None:
    monkeypatch.setattr(decoding, "BLOCK_BYTES", block)
    good = '{"text": "x"}\n'
    for line, message in {
        '{"text": ': r"a\.jsonl:4: not valid JSON",
        '["text"]': r"a\.jsonl:4: a row is an object",
        '{"body": "x", "id": 1}': r"a\.jsonl:4: no field 'text'; it has 'body', 'id'",
        '{"text": 5}': r"a\.jsonl:4: field 'text' is not text, it holds 5",
        "[" * 100_000: r"a\.jsonl:4: .*(nested|not valid)",
    }.items():
        with pytest.raises(GroundupError, match=message):
            texts(write(tmp_path / "a.jsonl", good + "\n" + good + line + "\n" + good))


def test_another_field(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "no", "body": "yes"}')
    assert texts(path, text_field="body") == ["yes"]


def test_rows_without_text_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": ""}\n{"text": null}\n{"text": "x"}\n')
    remarks: Counter[str] = Counter()
    assert list(read_pieces(list_sources(path)[0], Reading(), remarks)) == [("x", True)]
    assert remarks == {"rows without text, left out": 2}


def test_half_a_surrogate_pair_becomes_the_replacement_character(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", r'{"text": "a\ud83d b \ud83d\ude00 \udc00"}')
    remarks: Counter[str] = Counter()
    assert list(read_pieces(list_sources(path)[0], Reading(), remarks)) == [("a\ufffd b 😀 \ufffd", True)]
    assert sum(remarks.values()) == 1


# ---- tables


def test_csv_with_quotes_and_line_breaks(tmp_path: Path) -> None:
    rows = ['He said "no",\nthen\r\nleft', "ü" * 200_000, "plain"]
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *enumerate(rows)])
    assert texts(tmp_path / "a.csv") == rows


def test_tsv_has_no_quotes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'label\ttext\nham\t"Quoted? No.\nspam\tWin, win!\n')
    assert texts(path) == ['"Quoted? No.', "Win, win!"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,words\n1,x\n", r"a\.csv:2: no field 'text'; it has 'id', 'words'.*text_field"),
        ("id,text\n1,x\n2\n", r"a\.csv:3: the row has 1 columns, but 2 columns are named"),
        ('id,text\n1,x\n2,"open\n', r"a\.csv:3: not valid CSV"),
    ],
)
def test_csv_errors(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(GroundupError, match=message):
        texts(write(tmp_path / "a.csv", content))


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [f"Row {i} ü" for i in range(200)] + ["", None]
    table = pyarrow.table({"text": rows, "id": range(202)})
    parquet.write_table(table, tmp_path / "a.parquet")
    remarks: Counter[str] = Counter()
    pieces = list(read_pieces(list_sources(tmp_path)[0], Reading(), remarks))
    assert pieces == [(text, True) for text in rows[:200]]
    assert remarks == {"rows without text, left out": 2}
    with pytest.raises(GroundupError, match="no field 'body'; it has 'text', 'id'"):
        texts(tmp_path / "a.parquet", text_field="body")
    with pytest.raises(GroundupError, match="field 'id' is not text, it holds 0"):
        texts(tmp_path / "a.parquet", text_field="id")
    content = (tmp_path / "a.parquet").read_bytes()
    with pytest.raises(GroundupError, match=r"b\.parquet: cannot be read as Parquet"):
        texts(write(tmp_path / "b.parquet", content[:-50]))


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        GroundupError, match=r"a\.parquet needs pyarrow.*pip install pyarrow .the extra groundup.parquet. has it"
    ):
        texts(write(tmp_path / "a.parquet", b"PAR1"))


# ---- settings


def test_a_setting_nobody_listens_to_is_an_error(tmp_path: Path) -> None:
    rows, text = write(tmp_path / "a.jsonl", '{"text": "x"}'), write(tmp_path / "a.txt", "x")
    with pytest.raises(GroundupError, match="separator '--' has no effect"):
        texts(rows, separator="--")
    with pytest.raises(GroundupError, match="text_field 'body' has no effect"):
        texts(text, text_field="body")
    with pytest.raises(GroundupError, match="text field is empty"):
        texts(rows, text_field="")
    with pytest.raises(GroundupError, match="separator is empty"):
        texts(text, separator="")
    assert texts(tmp_path, separator="--", text_field="text") == ["x", "x"]


def test_conversations_are_refused_as_plain_text_unless_their_fields_are_named(tmp_path: Path) -> None:
    row = {"instruction": "Say hi", "input": "", "output": "Hello"}
    write(tmp_path / "a.json", json.dumps([row]))
    for paths in (tmp_path, tmp_path / "a.json"):  # a folder does not make it silent
        with pytest.raises(GroundupError, match=r"a\.json:1: rows of conversations .alpaca: 'instruction', 'input'"):
            texts(paths)
    assert texts(tmp_path, map={"text": "instruction+input+output"}) == ["Say hi\n\nHello"]
    pair = {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}
    with pytest.raises(GroundupError, match="rows of preferences"):
        texts(write(tmp_path / "b.jsonl", json.dumps(pair)))
    assert texts(write(tmp_path / "c.jsonl", json.dumps(row | {"text": "All of it."}))) == ["All of it."]


def test_the_only_cousin_of_text_is_taken_and_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"id": "1", "content": "x"}\n{"id": "2", "content": "y"}\n')
    remarks: Counter[str] = Counter()
    assert [d.text for d in read_documents(path, remarks=remarks)] == ["x", "y"]
    assert remarks == {f"files whose text is field 'content', there being no 'text' (first: {path})": 1}
    write(path, '{"body": "1", "content": "x"}\n')
    with pytest.raises(GroundupError, match=r"a\.jsonl:1: the text may be in 'body', 'content'; say which"):
        texts(path)


def test_bad_rows_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl", '{"text": "x"}\n{oops\n[1]\n{"text": 5}\n{"body": "y"}\n{oops too\n{"text": "z"}\n'
    )
    remarks: Counter[str] = Counter()
    assert [d.text for d in read_documents(path, on_bad_row="skip", remarks=remarks)] == ["x", "z"]
    assert remarks == {
        f"rows rejected: not valid JSON (first: {path}:2)": 2,
        f"rows rejected: a row is an object {{...}} (first: {path}:3)": 1,
        f"rows rejected: field 'text' is not text (first: {path}:4)": 1,
        f"rows rejected: no field 'text' (first: {path}:5)": 1,
    }
    write(path, '{"text": 5}\n{"text": 6}\n')
    with pytest.raises(GroundupError, match=r"a\.jsonl: every row was rejected \(2\)"):
        list(read_documents(path, on_bad_row="skip"))
