from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data.formats import docx as docx_files
from groundup.data.reading import read_documents

docx = pytest.importorskip("docx")


def write(path: Path) -> Path:
    document = docx.Document()
    document.add_heading("On Bread", 0)
    document.add_paragraph("Bread is old, größer than most think.")
    document.add_heading("Flour", 2)
    document.add_paragraph("Wheat", style="List Bullet")
    document.add_paragraph("Rye", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for row, values in zip(table.rows, (("Kind", "Grams"), ("a|b", "500")), strict=True):
        for cell, value in zip(row.cells, values, strict=True):
            cell.text = value
    document.add_paragraph("")
    document.add_paragraph("The end.")
    document.save(path)
    return path


def text_of(path: Path) -> str:
    (document,) = read_documents(path)
    return document.text


def test_everything_comes_in_its_order(tmp_path: Path) -> None:
    assert text_of(write(tmp_path / "a.docx")) == (
        "# On Bread\n\nBread is old, größer than most think.\n\n## Flour\n\n- Wheat\n- Rye\n\n"
        "| Kind | Grams |\n|---|---|\n| a\\|b | 500 |\n\nThe end."
    )


def test_a_docx_in_a_zip(tmp_path: Path) -> None:
    write(tmp_path / "a.docx")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "a.docx", "inside/a.docx")
    assert text_of(tmp_path / "all.zip").endswith("The end.")


def test_what_is_none_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    for content, reason in {
        b"no zip": "damaged or no DOCX",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 old": "encrypted, or an old .doc",
        write(path).read_bytes()[:-200]: "damaged or no DOCX",
    }.items():
        path.write_bytes(content)
        with pytest.raises(GroundupError, match=rf"a\.docx: {reason}"):
            text_of(path)
    docx.Document().save(path)
    with pytest.raises(GroundupError, match=r"a\.docx: a document without text"):
        text_of(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    with pytest.raises(GroundupError, match=r"a\.docx: damaged or no DOCX"):
        text_of(path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(docx_files, "LARGEST_DOCX", 10_000_000)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"\0" * 20_000_000)
    (tmp_path / "bomb.docx").write_bytes(content.getvalue())
    with pytest.raises(GroundupError, match=r"bomb\.docx: unpacks to 20\.0 MB, which no document is"):
        text_of(tmp_path / "bomb.docx")


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    """Billion laughs: a small XML whose entities grow by ten at every level."""
    write(tmp_path / "a.docx")
    levels = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    with zipfile.ZipFile(tmp_path / "a.docx") as good, zipfile.ZipFile(tmp_path / "laughs.docx", "w") as bad:
        for name in good.namelist():
            data = good.read(name)
            if name == "word/document.xml":
                head, _, body = data.decode().partition("?>")
                body = body.replace("The end.", "&l9;")
                data = f'{head}?><!DOCTYPE w [<!ENTITY l0 "ha">{levels}]>{body}'.encode()
            bad.writestr(name, data)
    try:
        text = text_of(tmp_path / "laughs.docx")
    except GroundupError as error:
        text = str(error)
    assert len(text) < 2000


def test_without_the_library(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path / "a.docx")
    monkeypatch.setitem(sys.modules, "docx", None)
    with pytest.raises(GroundupError, match="pip install python-docx"):
        text_of(tmp_path / "a.docx")
