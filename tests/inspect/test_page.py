"""Nothing from outside becomes markup; figures read well."""

from html.parser import HTMLParser

import pytest

from groundup.inspect.page import (
    Raw,
    coloured_pieces,
    escape,
    page,
    printable,
    readable,
    readable_count,
    readable_seconds,
    table,
)

EVIL = "</title></style><script>alert(1)</script><img src=x onerror='alert(1)'>\"&"


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.words.append(data)


def test_evil_text_is_shown_and_not_obeyed():
    body = f"<p>{escape(EVIL)}</p>" + table([(EVIL, 1)], (EVIL, "n")) + coloured_pieces([(EVIL, EVIL)])
    seen = Tags(page(EVIL, body))
    assert {"script", "img"}.isdisjoint(seen.tags)
    assert "".join(seen.words).count(EVIL) == 5  # title, paragraph, head, cell, piece


def test_raw_cells_are_taken_as_they_are():
    assert "<td><b>1</b></td>" in table([(Raw("<b>1</b>"),)])


def test_number_columns_stand_right():
    html = table([("a", "1,024", "+2.3%", None), ("b", 3, "-1%", "–")], ("name", "n", "off", "x"))
    assert html.count('class="number"') == 9
    assert "<td>a</td>" in html
    assert table([]) == '<div class="scroll"><table></table></div>'


def test_printable():
    assert printable("a\n\tü\x1b[31m\x00\u202e") == "a↵⇥ü\\x1b[31m\\x00\\u202e"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "12.3 ms"), (2, "2 s"), (59.96, "60 s"), (75, "1 min 15 s"), (119.7, "2 min 00 s"), (7384, "2 h 03 min")],
)
def test_readable_seconds(seconds, text):
    assert readable_seconds(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (99_999, "99,999"), (1_234_567, "1.23 million"), (7.2e15, "7.2 quadrillion"), (123_456, "123 thousand")],
)
def test_readable_count(number, text):
    assert readable_count(number) == text


def test_readable_units():
    assert readable(None, "seconds") == "–"
    assert readable(1.3e9, "bytes") == "1.3 GB"
    assert readable(2e6, "tokens") == "2 million tokens"
    assert readable(1.50234) == "1.502"
