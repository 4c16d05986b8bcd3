from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data.formats import html
from groundup.data.reading import read_documents

pytest.importorskip("trafilatura")

PAGE = """<!DOCTYPE html><html><head><meta charset="{charset}"><title>Brot</title><script>var x = "EVIL";</script>
<style>.a {{ color: red }}</style></head>
<body><nav><ul><li><a href="/">Startseite</a></li><li><a href="/about">Impressum</a></li></ul></nav>
<article><h1>Brot backen</h1><p>Brot besteht aus Mehl, Wasser, Salz und Hefe. Es braucht Zeit, ist aber gar nicht so schwer,
wie man glaubt; größer wird es von selbst.</p>
<h2>Der Teig</h2><p>Mehl &amp; Wasser mischen und eine halbe Stunde ruhen lassen, dann das <b>Salz</b> und die Hefe zugeben.</p>
<pre><code>def knead(dough):
    for turn in range(10):
        dough.fold()
</code></pre><ul><li>500 g Mehl</li><li>350 g Wasser</li></ul>
<table><tr><th>Schritt</th><th>Minuten</th></tr><tr><td>Ruhen</td><td>30</td></tr></table></article>
<footer>Copyright 2020. Cookies.</footer></body></html>"""


def text_of(path: Path, **how) -> str:
    (document,) = read_documents(path, **how)
    return document.text


def test_the_main_text_stays_and_the_rest_goes(tmp_path: Path) -> None:
    (tmp_path / "brot.html").write_text(PAGE.format(charset="utf-8"))
    text = text_of(tmp_path / "brot.html")
    assert text.startswith("# Brot backen\n\nBrot besteht")
    assert "## Der Teig" in text and "Mehl & Wasser" in text
    assert "def knead(dough):\n    for turn in range(10):\n        dough.fold()" in text
    assert "- 500 g Mehl" in text
    assert "| Ruhen | 30 |" in text
    for gone in ("EVIL", "color", "Impressum", "Cookies", "<"):
        assert gone not in text


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252"])
def test_the_charset_a_page_declares_is_believed_when_it_is_not_utf8(tmp_path: Path, charset: str) -> None:
    (tmp_path / "old.htm").write_bytes(PAGE.format(charset=charset).encode(charset))
    assert "größer" in text_of(tmp_path / "old.htm")
    (tmp_path / "lies.html").write_text(PAGE.format(charset=charset))  # it says so, and is UTF-8
    assert "größer" in text_of(tmp_path / "lies.html")


def test_a_charset_nobody_knows_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "odd.html").write_bytes(PAGE.format(charset="x-klingon").encode("cp1252"))
    with pytest.raises(GroundupError, match="its encoding cannot be told"):
        text_of(tmp_path / "odd.html")
    assert "größer" in text_of(tmp_path / "odd.html", encoding="cp1252")


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>Short one.</p><script>x()</script>", "Short one."),
        ("<p>Hello page", "Hello page"),
        ("Hello <b>world</b>", "Hello world"),
        ("<html>\n<body>Just text</body>", "Just text"),
        ("<HTML><BODY>Loud</BODY></HTML>", "Loud"),
    ],
)
def test_a_short_page_or_a_part_of_one_gives_all_that_would_be_seen(tmp_path: Path, page: str, text: str) -> None:
    (tmp_path / "a.html").write_text(page)
    assert text_of(tmp_path / "a.html").replace("**", "").split() == text.split()


@pytest.mark.parametrize("content", ["<script>only()</script>", "<html></html>", "   "])
def test_a_page_without_text_is_refused_when_named_and_counted_in_a_folder(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.html").write_text(content)
    with pytest.raises(GroundupError, match=r"a\.html: a page without text"):
        text_of(tmp_path / "a.html")
    (tmp_path / "b.txt").write_text("text")
    assert text_of(tmp_path) == "text"


def test_deep_nesting_ends(tmp_path: Path) -> None:
    depth = 200_000
    (tmp_path / "deep.html").write_text("<div>" * depth + "the deepest words of all" + "</div>" * depth)
    began = time.perf_counter()
    try:
        text = text_of(tmp_path / "deep.html")
    except GroundupError as error:
        text = str(error)
    assert "deep" in text
    assert time.perf_counter() - began < 10


def test_no_page_is_that_large(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(html, "LARGEST_PAGE", 1000)
    (tmp_path / "a.html").write_text("<p>" + "words " * 1000)
    with pytest.raises(GroundupError, match=r"larger than 1\.0 kB, which is no page"):
        text_of(tmp_path / "a.html")


def test_without_the_library_even_a_folder_says_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "trafilatura", None)
    (tmp_path / "a.html").write_text("<p>x")
    with pytest.raises(
        GroundupError, match=r"pip install trafilatura lxml_html_clean .the extra groundup.formats. has them"
    ):
        text_of(tmp_path)
