from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zipfile
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data import compression
from groundup.data.reading import read_documents

TEXT = "One line of honest text, number %d.\n" * 50 % tuple(range(50))


def texts(path: Path, **how) -> list[str]:
    return [document.text for document in read_documents(path, **how)]


def zstd(data: bytes) -> bytes:
    codec = pytest.importorskip("pyarrow").Codec("zstd")
    half = len(data) // 2
    return b"".join(codec.compress(part, asbytes=True) for part in (data[:half], data[half:]))  # two frames


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}


@pytest.mark.parametrize("suffix", PACKERS)
def test_packed_text_and_rows(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.txt.{suffix}").write_bytes(PACKERS[suffix](TEXT.encode()))
    (tmp_path / f"b.jsonl.{suffix}").write_bytes(PACKERS[suffix](b'{"text": "x"}\n'))
    assert texts(tmp_path) == [TEXT, "x"]


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_damaged_one_is_named(tmp_path: Path, suffix: str) -> None:
    whole = PACKERS[suffix](TEXT.encode() * 50)
    for content in (whole[: len(whole) * 2 // 3], b"no such thing" * 9):
        path = tmp_path / f"a.txt.{suffix}"
        path.write_bytes(content)
        with pytest.raises(GroundupError, match=rf"a\.txt\.{suffix}: damaged or no"):
            texts(path)


@pytest.mark.parametrize("suffix", PACKERS)
def test_what_swells_beyond_reason_is_refused_by_name(tmp_path: Path, monkeypatch, suffix: str) -> None:
    monkeypatch.setattr(compression, "HARMLESS_BYTES", 1_000_000)
    (tmp_path / f"bomb.txt.{suffix}").write_bytes(PACKERS[suffix](b"\n" * 20_000_000))
    with pytest.raises(GroundupError, match=rf"bomb\.txt\.{suffix}: unpacks to more than 300 times its size"):
        texts(tmp_path / f"bomb.txt.{suffix}")


def make_zip(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return path


def test_a_zip_of_texts_rows_and_packed_texts(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in/a.txt", TEXT)
        archive.writestr("in/b.jsonl", '{"text": "row"}')
        archive.writestr("c.txt.gz", gzip.compress(b"packed twice"))
    found = [(d.text, str(d.source)) for d in read_documents(path)]
    assert found == [
        ("packed twice", f"{path}/c.txt.gz"),
        (TEXT, f"{path}/in/a.txt"),
        ("row", f"{path}/in/b.jsonl"),
    ]


def test_a_zip_that_promises_too_much_is_refused_before_it_is_opened(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(compression, "HARMLESS_BYTES", 1_000_000)
    path = make_zip(tmp_path / "bomb.zip", a_txt="\n" * 5_000_000)
    with pytest.raises(GroundupError, match=r"bomb\.zip: .* kB that would unpack to 5\.0 MB, more than 300 times"):
        texts(path)


def test_zips_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 nothing more")
    with pytest.raises(GroundupError, match=r"broken\.zip: damaged or no zip archive"):
        texts(tmp_path / "broken.zip")
    content = bytearray(make_zip(tmp_path / "a.zip", a_txt=TEXT).read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # set "encrypted" in both of its headers
        content[content.index(mark) + offset] |= 1
    (tmp_path / "secret.zip").write_bytes(content)
    with pytest.raises(GroundupError, match=r"secret\.zip: a\.txt in it is encrypted"):
        texts(tmp_path / "secret.zip")
    (tmp_path / "good.txt").write_text("good")
    assert texts(tmp_path) == [TEXT, "good"]  # beside others they are counted, not fatal


def test_a_member_whose_bytes_are_damaged(tmp_path: Path) -> None:
    content = bytearray(make_zip(tmp_path / "a.zip", a_txt=TEXT).read_bytes())
    content[60] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(GroundupError, match=r"a\.zip/a\.txt: damaged"):
        texts(tmp_path / "a.zip")


def test_zstd_without_its_library(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.txt.zst").write_bytes(b"x")
    with pytest.raises(GroundupError, match=r"pip install pyarrow"):
        texts(tmp_path / "a.txt.zst")
