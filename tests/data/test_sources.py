from __future__ import annotations

import gzip
import hashlib
import json
import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data.sources import hash_sources, list_sources


def names(paths, below: Path) -> list[str]:
    return [str(source.path.relative_to(below)) for source in list_sources(paths)]


def write(path: Path, content: bytes | str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_folder_gives_its_known_files_sorted_and_counts_the_rest(tmp_path: Path) -> None:
    for name in (
        "b.txt",
        "a/z.MD",
        "a/c.jsonl.gz",
        "a.tsv",
        "x.parquet",
        "note.odt",
        "a/more.odt",
        "README",
        ".git/x.txt",
    ):
        write(tmp_path / name)
    write(tmp_path / "empty.txt", "")
    remarks: Counter[str] = Counter()
    found = list_sources(tmp_path, remarks)
    assert [(str(s.path.relative_to(tmp_path)), s.kind, s.compression) for s in found] == [
        ("a/c.jsonl.gz", "jsonl", "gzip"),
        ("a/z.MD", "markdown", None),
        ("a.tsv", "tsv", None),
        ("b.txt", "text", None),
        ("x.parquet", "parquet", None),
    ]
    assert remarks == {".odt files, left out": 2, "nameless files, left out": 1, "empty files, left out": 1}


def test_a_file_met_twice_counts_once(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.txt"), write(tmp_path / "b.txt")
    (tmp_path / "c.txt").symlink_to(a)
    assert names([b, tmp_path, str(a)], tmp_path) == ["b.txt", "a.txt"]


def test_links_to_folders_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    write(tmp_path / "far/deep.txt")
    (tmp_path / "near").mkdir()
    (tmp_path / "near/link").symlink_to(tmp_path / "far")
    (tmp_path / "far/loop").symlink_to(tmp_path / "far")
    assert names(tmp_path / "near", tmp_path) == ["near/link/deep.txt"]


def test_a_named_file_of_another_ending_is_taken_for_text(tmp_path: Path) -> None:
    assert list_sources(write(tmp_path / "notes.rst"))[0].kind == "text"


def test_a_missing_path_suggests_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "shakespeare.txt")
    with pytest.raises(GroundupError, match=r"shakespear\.txt does not exist; did you mean .*shakespeare\.txt\?"):
        list_sources(tmp_path / "shakespear.txt")
    with pytest.raises(GroundupError, match="nor does the folder"):
        list_sources(tmp_path / "no" / "such.txt")


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(GroundupError, match="no file or folder"):
        list_sources([])
    with pytest.raises(GroundupError, match=r"empty\.txt is empty"):
        list_sources(write(tmp_path / "empty.txt", ""))
    (tmp_path / "folder").mkdir()
    with pytest.raises(GroundupError, match=r"holds no text.*it is empty.*formats that are read: \.txt"):
        list_sources(tmp_path / "folder")
    write(tmp_path / "folder/a.odt")
    with pytest.raises(GroundupError, match=r"1 \.odt files, left out"):
        list_sources(tmp_path / "folder")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"%PDF-1.7 ...", "not text but a PDF"),
        (b"PK\x03\x04rest", "zip archive, as .docx"),
        (gzip.compress(b"text", mtime=0), "compressed by gzip"),
        (b"\x89PNG\r\n", "PNG picture"),
        (b"abc\0def", r"binary file \(byte 3 is zero\)"),
        ("text".encode("utf-16-le"), r"binary file .*give encoding utf-16-le"),
    ],
)
def test_what_is_no_text_is_told_by_what_it_is(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(GroundupError, match=message):
        list_sources(write(tmp_path / "book.txt", content))


def test_a_format_can_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.data", '{"text": "x"}')
    assert list_sources(path)[0].kind == "text"
    assert list_sources(path, format="jsonl")[0].kind == "jsonl"


def test_token_files_say_how_they_are_read(tmp_path: Path) -> None:
    with pytest.raises(
        GroundupError,
        match=r"train\.bin has the name of a file of tokens.*if it is one.*data prepare .*train\.bin --tokenizer",
    ):
        list_sources(write(tmp_path / "train.bin", b"\x01\x00"))
    write(tmp_path / "a.txt")
    remarks: Counter[str] = Counter()
    assert [source.path.name for source in list_sources(tmp_path, remarks)] == ["a.txt"]
    assert remarks == {"token files (.bin), left out: they are read when they are named": 1}


def test_a_zip_is_a_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("b.txt", "a/c.jsonl.gz", "a/d.odt", "__MACOSX/b.txt", ".hidden.txt", "empty.txt"):
            archive.writestr(name, "" if name == "empty.txt" else "text of some length")
    remarks: Counter[str] = Counter()
    found = list_sources(tmp_path / "all.zip", remarks)
    assert [(str(s), s.kind, s.compression, s.n_bytes) for s in found] == [
        (f"{tmp_path}/all.zip/a/c.jsonl.gz", "jsonl", "gzip", 19),
        (f"{tmp_path}/all.zip/b.txt", "text", None, 19),
    ]
    assert remarks == {".odt files, left out": 1, "empty files, left out": 1}
    sha = hashlib.sha256((tmp_path / "all.zip").read_bytes()).hexdigest()
    assert hash_sources(found) == [sha, sha]
    write(tmp_path / "all.zip", "another")
    assert not found[0].is_unchanged()


def test_a_dataset_saved_to_disk_gives_its_training_split(tmp_path: Path) -> None:
    write(tmp_path / "saved/dataset_dict.json", '{"splits": ["train", "test"]}')
    for split in ("train", "test"):
        files = [{"filename": f"data-{i}.arrow"} for i in (1, 0)]
        write(tmp_path / f"saved/{split}/state.json", json.dumps({"_data_files": files}))
        write(tmp_path / f"saved/{split}/dataset_info.json", "{}")
        for file in files:
            write(tmp_path / f"saved/{split}/{file['filename']}")
    remarks: Counter[str] = Counter()
    found = [str(s.path.relative_to(tmp_path)) for s in list_sources(tmp_path / "saved", remarks)]
    assert found == ["saved/train/data-1.arrow", "saved/train/data-0.arrow"]  # the order the dataset says
    assert list(remarks.values()) == [1]
    outside = json.dumps({"_data_files": [{"filename": "../../../etc/data-1.arrow"}]})
    write(tmp_path / "saved/train/state.json", outside)
    assert names(tmp_path / "saved", tmp_path) == ["saved/train/data-1.arrow"]  # a path in data leads nowhere else
    assert names(tmp_path / "saved/test", tmp_path) == ["saved/test/data-1.arrow", "saved/test/data-0.arrow"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "secret.txt")
    path.chmod(0)
    with pytest.raises(GroundupError, match="cannot be read: Permission denied"):
        list_sources(path)


def test_fingerprints_are_of_the_bytes(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, name) for name in ("a.txt", "b.txt")]
    assert hash_sources(list_sources(paths)) == [hashlib.sha256(p.read_bytes()).hexdigest() for p in paths]


def test_a_change_is_noticed(tmp_path: Path) -> None:
    (source,) = list_sources(write(tmp_path / "a.txt", "one"))
    assert source.is_unchanged()
    write(tmp_path / "a.txt", "four")
    assert not source.is_unchanged()
    (tmp_path / "a.txt").unlink()
    assert not source.is_unchanged()
