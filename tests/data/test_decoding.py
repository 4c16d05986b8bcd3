"""The encodings of real texts, told and never guessed."""

from __future__ import annotations

import io
import json
import sys
import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data import decoding
from groundup.data.decoding import check_encoding, decoded
from groundup.data.reading import Reading, read_documents, read_pieces
from groundup.data.remarks import Remarks
from groundup.data.sources import list_sources

GERMAN = (
    "Die Straße führt über die Brücke; größere Wägen müssen außen herum. Für Fußgänger gibt es Stufen.\n"
    "Später hörte man Gelächter aus den Häusern, und die Tür öffnete sich, während es draußen kälter wurde.\n"
) * 30
RUSSIAN = "Все люди рождаются свободными и равными в своём достоинстве и правах. Они наделены разумом.\n" * 30
JAPANESE = (
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗い所で泣いていた事だけは記憶している。\n"
    * 30
)
CASES = [
    (GERMAN, "cp1252"),
    (GERMAN, "iso8859-15"),
    (RUSSIAN, "cp1251"),
    (RUSSIAN, "koi8-r"),
    (JAPANESE, "shift_jis"),
    (JAPANESE, "euc_jp"),
]


def texts(path: Path, **how) -> list[str]:
    return [document.text for document in read_documents(path, **how)]


@pytest.mark.parametrize(("text", "encoding"), CASES, ids=lambda value: value if len(value) < 20 else "")
@pytest.mark.parametrize("block", [7, 1 << 18])
def test_an_old_encoding_is_told_with_its_confidence(
    tmp_path: Path, monkeypatch, text: str, encoding: str, block: int
) -> None:
    monkeypatch.setattr(decoding, "BLOCK_BYTES", block)
    (tmp_path / "old.txt").write_bytes(b"Plain beginning.\n" * 20 + text.encode(encoding))
    remarks = Remarks()
    (source,) = list_sources(tmp_path / "old.txt")
    assert "".join(t for t, _ in read_pieces(source, Reading(), remarks)) == "Plain beginning.\n" * 20 + text
    (remark,) = remarks
    assert "detected with confidence 0." in remark or "detected with confidence 1." in remark
    assert str(source) in remark
    assert set(remarks.encodings) == {str(source)}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("block", [5, 1 << 18])
def test_byte_order_marks_are_believed_and_no_text(tmp_path: Path, monkeypatch, encoding: str, block: int) -> None:
    monkeypatch.setattr(decoding, "BLOCK_BYTES", block)
    (tmp_path / "a.txt").write_bytes("Grüße 😀 ende".encode(encoding))
    assert texts(tmp_path / "a.txt") == ["Grüße 😀 ende"]


@pytest.mark.parametrize("block", [5, 1 << 18])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.tsv"])
def test_rows_in_any_encoding(tmp_path: Path, monkeypatch, block: int, name: str) -> None:
    monkeypatch.setattr(decoding, "BLOCK_BYTES", block)
    rows = [f"Größe {i} 東京\u2028" for i in range(50)]
    lines = {
        "rows.jsonl": "\n".join(json.dumps({"text": row}, ensure_ascii=False) for row in rows),
        "rows.json": json.dumps([{"text": row} for row in rows], ensure_ascii=False),
        "rows.csv": "text\n" + "\n".join(rows),
        "rows.tsv": "text\n" + "\n".join(rows),
    }[name]
    path = tmp_path / name
    path.write_bytes(lines.encode("utf-16"))
    assert texts(path) == rows
    path.write_bytes(lines.encode("gb18030"))
    assert texts(path, encoding="gb18030") == rows


def test_a_beginning_that_could_be_utf8_by_chance_does_not_mislead(tmp_path: Path) -> None:
    """The first character of this GB18030 text is C4 A3, a whole character in UTF-8 too."""
    text = "模型的训练需要大量的文本，而文本的编码往往各不相同。人们常常忘记说明自己的文件是用什么编码写成的。\n" * 20
    (tmp_path / "a.txt").write_bytes(text.encode("gb18030"))
    assert texts(tmp_path / "a.txt") == [text]


def test_utf16_without_a_mark_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("text".encode("utf-16-be"))
    with pytest.raises(GroundupError, match=r"byte 0 is zero.*encoding utf-16-le or utf-16-be"):
        texts(tmp_path / "a.txt")
    assert texts(tmp_path / "a.txt", encoding="utf-16-be") == ["text"]


def test_an_order_of_bytes_that_cannot_be_told_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"plain text, two bytes a letter")
    with pytest.raises(GroundupError, match=r"a\.txt.*not utf-16.*give utf-16-le or utf-16-be"):
        texts(tmp_path / "a.txt", encoding="utf-16")


def test_too_little_to_tell_is_an_error_that_names_the_byte_and_the_likeliest(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_bytes(b"plain words here\n" * 200 + b"He said \x93yes\x94 and left\n" * 9)
    with pytest.raises(
        GroundupError, match=r"byte 3,408 is 0x93.*cannot be told \(.* is likeliest.*give it by encoding"
    ):
        texts(path)
    assert "“yes”" in texts(path, encoding="cp1252")[0]


def test_an_encoding_in_which_ascii_is_something_else_is_never_detected(tmp_path: Path, monkeypatch) -> None:
    """What came before was handed on as ASCII; EBCDIC after it cannot be the same text."""
    chardet = pytest.importorskip("chardet")
    monkeypatch.setattr(chardet, "detect", lambda data: {"encoding": "cp037", "confidence": 1.0})
    (tmp_path / "a.txt").write_bytes(b"Plain words.\n" + GERMAN.encode("cp1252"))
    with pytest.raises(GroundupError, match=r"cannot be told \(cp037 is likeliest"):
        texts(tmp_path / "a.txt")
    monkeypatch.setattr(chardet, "detect", lambda data: {"encoding": "X-UNHEARD-OF", "confidence": 1.0})
    with pytest.raises(GroundupError, match=r"cannot be told \(X-UNHEARD-OF is likeliest"):
        texts(tmp_path / "a.txt")


def test_noise_has_no_encoding(tmp_path: Path) -> None:
    (tmp_path / "noise.txt").write_bytes(bytes(range(128, 256)) * 50)
    with pytest.raises(GroundupError, match="byte 0 is 0x80, and its encoding cannot be told"):
        texts(tmp_path / "noise.txt")


def test_one_bad_byte_in_the_first_block_is_damage_too(tmp_path: Path) -> None:
    content = GERMAN.encode()
    at = content.index(b"\n")
    (tmp_path / "a.txt").write_bytes(content[:at] + b"\xff" + content[at:])
    with pytest.raises(GroundupError, match=rf"byte {at:,} is 0xff, after text that was UTF-8"):
        texts(tmp_path / "a.txt")


def test_damaged_utf8_is_never_taken_for_another_encoding(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(decoding, "BLOCK_BYTES", 64)
    content = ("Grüße aus Köln. " * 20).encode() + b"\xff" + GERMAN.encode()
    (tmp_path / "mixed.txt").write_bytes(content)
    at = len(("Grüße aus Köln. " * 20).encode())
    with pytest.raises(GroundupError, match=rf"byte {at} is 0xff, after text that was UTF-8"):
        texts(tmp_path / "mixed.txt")


@pytest.mark.parametrize("block", [10, 1 << 18])
def test_what_was_detected_is_proved_to_the_end(tmp_path: Path, monkeypatch, block: int) -> None:
    monkeypatch.setattr(decoding, "BLOCK_BYTES", block)
    monkeypatch.setattr(decoding, "_SAMPLE_BYTES", 4000)
    good = (JAPANESE * 3).encode("shift_jis")
    (tmp_path / "a.txt").write_bytes(good + b"\x81\x00\xff\xff")
    with pytest.raises(GroundupError, match=rf"not cp932 .*detected with confidence.*byte {len(good):,} is 0x81"):
        texts(tmp_path / "a.txt")


def test_an_encoding_that_is_asked_for_is_strict_too(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc \x81 def")
    with pytest.raises(GroundupError, match=r"not cp1252 .as was asked.: byte 4 is 0x81"):
        texts(tmp_path / "a.txt", encoding="windows-1252")
    with pytest.raises(GroundupError, match=r"unknown encoding 'utf-9'"):
        texts(tmp_path / "a.txt", encoding="utf-9")
    with pytest.raises(GroundupError, match="unknown encoding 'base64'"):
        check_encoding("base64")
    assert check_encoding("latin1") == "iso8859-1"


def test_an_encoding_nobody_listens_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(GroundupError, match="encoding 'cp1252' has no effect"):
        texts(tmp_path / "a.parquet", encoding="cp1252")


def test_without_the_library_the_way_out_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "chardet", None)
    (tmp_path / "a.txt").write_bytes(GERMAN.encode("cp1252"))
    with pytest.raises(GroundupError, match=r"pip install chardet .the extra groundup.formats."):
        texts(tmp_path / "a.txt")


def test_memory_is_bounded_for_an_old_encoding_too(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_bytes(GERMAN.encode("cp1252") * 1500)  # 9 MB
    (source,) = list_sources(tmp_path / "long.txt")
    list(read_pieces(source, Reading(encoding="cp1252"), Counter()))[:1]
    tracemalloc.start()
    n = sum(len(text) for text, _ in read_pieces(source, Reading(), Counter()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == len(GERMAN) * 1500
    assert peak < 4_000_000


@pytest.mark.shared_data
def test_real_texts_in_old_encodings_are_all_told_right(shared_data: Path) -> None:
    """Twenty-three files of fifteen languages: every one decodes to the text it was made from."""
    declaration = zipfile.ZipFile(shared_data / "corpora/nltk/udhr2.zip")

    def udhr(code: str) -> str:
        return declaration.read(f"udhr2/{code}.txt").decode()

    german = json.loads((shared_data / "domain/german_law_18_codes.jsonl").open().readline())["text"][:60_000]
    japanese = (shared_data / "corpora/wagahaiwa_nekodearu_ja.txt").read_text()[:60_000]
    chinese = (shared_data / "preference/llamafactory_dpo_zh_300.json").read_text()[:60_000]
    cases = [(german, "cp1252"), (german, "iso8859-15"), (japanese, "utf-16"), (chinese, "gb18030"), (chinese, "big5")]
    cases += [(japanese, encoding) for encoding in ("shift_jis", "euc_jp")]
    for code, encodings in {
        "fra": ("cp1252", "latin-1"), "spa": ("cp1252",), "rus": ("cp1251", "koi8-r"), "pol": ("cp1250", "iso8859-2"),
        "tur": ("cp1254",), "ces": ("cp1250",), "heb": ("cp1255",), "arb": ("cp1256",), "kor": ("cp949", "euc_kr"),
        "hun": ("cp1250",), "por_PT": ("cp1252",), "swe": ("cp1252",),
    }.items():  # fmt: skip
        cases += [(udhr(code), encoding) for encoding in encodings]
    wrong = []
    for text, encoding in cases:
        data = text.encode(encoding, "ignore")
        (source,) = list_sources(__file__)
        try:
            found = "".join(decoded(source, io.BytesIO(data), Counter()))
        except GroundupError as error:
            found = str(error)
        if found != data.decode(encoding).removeprefix("\ufeff"):
            wrong.append((encoding, text[:30], found[:200]))
    assert len(cases) == 23
    assert wrong == []
