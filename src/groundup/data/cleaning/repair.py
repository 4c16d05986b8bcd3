"""Repair: text that was decoded wrongly, spelt in two ways, or holds what no eye sees, set right.

The one idea: undo accidents, leave style alone. ftfy (Speer 2019) finds what was UTF-8 read as Windows-1252 and turns
`cafÃ©` back into `café`; Unicode's NFC gives a letter with its accent one spelling; control characters (C0 and C1 but
line end and tab, DEL, noncharacters, terminal escapes) go. Curly quotes, ligatures, full-width letters and HTML entities
are the writer's and stay.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from groundup.core.errors import missing_extra

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # ECMA-48, 5.4: control sequences
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufdd0-\ufdef\ufffe\uffff]")


def repairer() -> Callable[[str], tuple[str, list[str]]]:
    """A function from a text to the repaired text and the names of what was done (mojibake, nfc, controls)."""
    try:
        import ftfy
    except ImportError:
        raise missing_extra("ftfy", "clean", "Unicode repair") from None

    def repair(text: str) -> tuple[str, list[str]]:
        done = []
        if not text.isascii():
            # Line by line as ftfy means it: one wrong line does not condemn the others.
            fixed = "\n".join(line if line.isascii() else ftfy.fix_encoding(line) for line in text.split("\n"))
            if fixed != text:
                text = fixed
                done.append("mojibake")
            if not unicodedata.is_normalized("NFC", text):
                text = unicodedata.normalize("NFC", text)
                done.append("nfc")
        if not text.isprintable() and _CONTROLS.search(text):
            text = _CONTROLS.sub("", _ESCAPES.sub("", text))
            done.append("controls")
        return text, done

    return repair
