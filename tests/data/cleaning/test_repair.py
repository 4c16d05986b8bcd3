"""Accidents of encoding undone, style left alone."""

from __future__ import annotations

import sys

import pytest

from groundup.core.errors import GroundupError
from groundup.data.cleaning.language import identifier
from groundup.data.cleaning.privacy import finder
from groundup.data.cleaning.repair import repairer


@pytest.mark.parametrize(
    ("broken", "right", "done"),
    [
        ("cafÃ© crÃ¨me", "café crème", ["mojibake"]),
        ("itâ€™s fine", "it’s fine", ["mojibake"]),
        ("one line\nschÃ¶n\nundamaged: Ã\n", "one line\nschön\nundamaged: Ã\n", ["mojibake"]),
        ("e\u0301te\u0301", "été", ["nfc"]),
        ("a\x00b\x07c\x7fd\ufffee", "abcde", ["controls"]),
        ("\x1b[31mred\x1b[0m", "red", ["controls"]),
    ],
)
def test_repaired(broken, right, done):
    assert repairer()(broken) == (right, done)


@pytest.mark.parametrize(
    "text",
    [
        "“curly” ‘quotes’ – dash…",
        "ﬁne ligature",
        "ＦＵＬＬ　ｗｉｄｔｈ",
        "&lt;html&gt; &amp; entities",
        "tabs\tand\r\nline ends\n\x0c",
        "naïve Ångström, São Paulo",
        "Привет, мир! 日本語 emoji 👩‍👩‍👧",
    ],
)
def test_style_stays(text):
    assert repairer()(text) == (text, [])


@pytest.mark.parametrize(
    ("library", "use"), [("ftfy", repairer), ("py3langid.langid", identifier), ("phonenumbers", finder)]
)
def test_a_missing_library_names_its_extra(monkeypatch, library, use):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(GroundupError, match=r"groundup\[clean\]"):
        use()
