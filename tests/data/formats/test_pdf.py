from __future__ import annotations

import io
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data.formats.pdf import joined_lines
from groundup.data.reading import read_documents

pypdf = pytest.importorskip("pypdf")


def pdf(*pages: list[str]) -> bytes:
    """A PDF of plain lines of text, written by hand."""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{' '.join(f'{4 + 2 * i} 0 R' for i in range(len(pages)))}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, lines in enumerate(pages):
        shown = "".join(f"({line}) Tj T* " for line in lines)
        stream = f"BT /F1 12 Tf 14 TL 72 720 Td {shown}ET" if lines else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * i} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    content, places = "%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(content))
        content += f"{number} 0 obj\n{one}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n"
    )
    return f"{content}{end}startxref\n{len(content)}\n%%EOF".encode("latin-1")


def text_of(path: Path) -> str:
    (document,) = read_documents(path)
    return document.text


def test_pages_are_one_text_and_divided_words_are_whole(tmp_path: Path) -> None:
    pages = [
        ["The History of Bread", "Bread is as old as agri-", "culture, and this sen-"],
        ["tence ends here.", "A new one."],
    ]
    (tmp_path / "a.pdf").write_bytes(pdf(*pages))
    assert text_of(tmp_path / "a.pdf") == (
        "The History of Bread\nBread is as old as agriculture, and this sentence ends here.\nA new one.\n"
    )


@pytest.mark.parametrize(
    ("lines", "whole"),
    [
        ("one ex-\nample", "one example"),
        ("a line\ngoes on", "a line goes on"),
        ("it ends.\nbut small", "it ends.\nbut small"),
        ("Jean-\nPaul", "Jean-\nPaul"),
        ("Title\nText", "Title\nText"),
        ("list:\nitem", "list:\nitem"),
        ("gr\u00f6-\n\u00dfer", "gr\u00f6\u00dfer"),
    ],
)
def test_lines_that_go_on_are_joined(lines: str, whole: str) -> None:
    assert joined_lines(lines) == whole


def test_what_holds_no_text_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "scan.pdf").write_bytes(pdf([], []))
    with pytest.raises(GroundupError, match=r"scan\.pdf: no text on its 2 pages: pictures of pages\?"):
        text_of(tmp_path / "scan.pdf")
    (tmp_path / "broken.pdf").write_bytes(pdf(["text"])[:200])
    with pytest.raises(GroundupError, match=r"broken\.pdf: damaged or no PDF"):
        text_of(tmp_path / "broken.pdf")
    (tmp_path / "none.pdf").write_bytes(b"%PDF-1.4 and nothing")
    with pytest.raises(GroundupError, match=r"none\.pdf: damaged or no PDF"):
        text_of(tmp_path / "none.pdf")


def encrypted(user_password: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(["Secret words."])))
    writer.encrypt(user_password, owner_password="owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_a_password_is_asked_for_by_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "locked.pdf").write_bytes(encrypted("secret"))
    with pytest.raises(GroundupError, match=r"locked\.pdf: encrypted: it needs a password"):
        text_of(tmp_path / "locked.pdf")
    (tmp_path / "open.pdf").write_bytes(encrypted(""))  # only printing is forbidden: anyone may read it
    assert text_of(tmp_path / "open.pdf").strip() == "Secret words."


def test_a_folder_counts_what_it_could_not_read(tmp_path: Path) -> None:
    from collections import Counter

    (tmp_path / "a.pdf").write_bytes(pdf(["Good words."]))
    (tmp_path / "b.pdf").write_bytes(encrypted("secret"))
    (tmp_path / "half.pdf").write_bytes(pdf(["Some words."], []))
    remarks: Counter[str] = Counter()
    assert [d.text.strip() for d in read_documents(tmp_path, remarks=remarks)] == ["Good words.", "Some words."]
    assert remarks == {
        f"files left out: encrypted: it needs a password; save it without one (first: {tmp_path}/b.pdf)": 1,
        f"pages without text, as pictures of pages are (first: {tmp_path}/half.pdf)": 1,
    }


def test_a_pdf_by_another_name_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_bytes(pdf(["Words."]))
    with pytest.raises(GroundupError, match=r"not text but a PDF; read it as one with format pdf"):
        text_of(tmp_path / "book.txt")
    (document,) = read_documents(tmp_path / "book.txt", format="pdf")
    assert document.text.strip() == "Words."
