"""Hidden Unicode: characters that steer or carry text and that nobody sees, told from their honest uses.

The one idea: each kind has places where writing needs it (Unicode 16, section 23.2 and UTS 51 for emoji), and anywhere
else it is a find:

- `zero_width` (ZWSP, word joiner, BOM inside text, Mongolian vowel separator, Hangul fillers, invisible operators):
  ZWSP belongs between words of Thai, Lao, Khmer, Burmese; fillers beside Hangul, the separator beside Mongolian.
- `joiner` (ZWJ, ZWNJ): belongs between letters of Arabic, Indic and a few other scripts, and ZWJ inside emoji.
- `bidi`: marks (LRM, RLM, ALM) belong on a line with right-to-left letters, embeddings and isolates there too when they
  are closed; overrides turn readable text around and never belong (Boucher and Anderson 2021, "Trojan Source").
- `tag` (U+E0000 to U+E007F): spell invisible ASCII; belong only in the flags of England, Scotland, Wales and their kin.
- `variation`: one selector belongs after a character; a row of them, or U+E0100 to U+E01EF elsewhere than after an
  ideograph, spells bytes.
- `homoglyph`: a word of Latin letters with Cyrillic or Greek lookalikes in it (UTS 39, section 4). It is reported and
  never taken out: it shows, and which letter was meant is for people to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import regex

KINDS = ("zero_width", "joiner", "bidi", "tag", "variation", "homoglyph")

_RTL = regex.compile(r"[\p{Hebrew}\p{Arabic}\p{Syriac}\p{Thaana}\p{Nko}\p{Adlam}\p{Samaritan}\p{Mandaic}]")
_ANY = re.compile(
    "[\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e01ef]"
)
_ZERO_WIDTH = regex.compile(
    r"(?<![\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])[\u200b\u2060](?![\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"
    r"|[\u034f\u2061-\u2064\ufeff]|(?<!\p{Mongolian})\u180e(?!\p{Mongolian})|(?<!\p{Hangul})[\u115f\u1160\u3164\uffa0](?!\p{Hangul})"
)
# Scripts whose letters join, stack or change beside a joiner.
_JOINING = (
    r"\p{Arabic}\p{Syriac}\p{Mongolian}\p{Nko}\p{Devanagari}\p{Bengali}\p{Gurmukhi}\p{Gujarati}\p{Oriya}\p{Tamil}"
)
_JOINING += r"\p{Telugu}\p{Kannada}\p{Malayalam}\p{Sinhala}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Inherited}"
_JOINER = regex.compile(
    rf"\u200c(?<![{_JOINING}]\u200c)|(?<![{_JOINING}\p{{Extended_Pictographic}}\p{{Emoji_Modifier}}\ufe0f])\u200d"
)
_TAG = re.compile("[\U000e0000-\U000e007f]+")
# The code of a region, closed, after a black flag: all that UTS 51 allows.
_FLAG = re.compile("(?<=\U0001f3f4)[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
_VARIATION = regex.compile(
    r"(?<![\ufe00-\ufe0f\U000e0100-\U000e01ef])"
    r"(?:[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2,}|(?<!\p{Han})[\U000e0100-\U000e01ef]|(?<![^\sA-Za-z])[\ufe00-\ufe0f])"
)
_MARKS = "\u061c\u200e\u200f"
_OPENERS, _CLOSERS = "\u202a\u202b\u2066\u2067\u2068", "\u202c\u2069"
_OVERRIDES = "\u202d\u202e"
_BIDI = re.compile(f"[{_MARKS}{_OPENERS}{_CLOSERS}{_OVERRIDES}]")

# Cyrillic and Greek letters that look like a Latin one in common fonts (UTS 39, confusables).
# The small Greek ones but omicron are left out: sciences write them beside Latin letters on purpose.
_LOOKALIKES = "аеорсухіјѕһԁԛԝАВЕКМНОРСТУХІЈЅοΑΒΕΖΗΙΚΜΝΟΡΤΥΧ"
_MIXED_WORD = re.compile(rf"\b(?=[A-Za-z]*[{_LOOKALIKES}])(?=[{_LOOKALIKES}]*[A-Za-z])[A-Za-z{_LOOKALIKES}]{{4,}}\b")

Find = tuple[str, int, int]  # kind, start, end


def find_hidden(text: str) -> list[Find]:
    """Every find in `text`, in the order of places; those of one kind do not overlap."""
    if text.isascii():
        return []
    finds: list[Find] = []
    if _ANY.search(text):
        for kind, pattern in (("zero_width", _ZERO_WIDTH), ("joiner", _JOINER), ("variation", _VARIATION)):
            finds += [(kind, *match.span()) for match in pattern.finditer(text)]
        tags = (match.span() for match in _TAG.finditer(text))
        finds += [("tag", start, end) for start, end in tags if not _FLAG.fullmatch(text, start, end)]
        finds += _bidi(text)
    finds += [("homoglyph", *match.span()) for match in _MIXED_WORD.finditer(text)]
    return sorted(finds, key=lambda find: find[1:])


def strip_hidden(text: str, finds: list[Find]) -> str:
    """`text` without what was found, but for homoglyphs."""
    parts, at = [], 0
    for kind, start, end in finds:
        if kind != "homoglyph" and end > at:
            parts.append(text[at : max(at, start)])
            at = end
    return "".join((*parts, text[at:]))


def spelt_out(text: str) -> str:
    """What a find holds, to be read: tags as the ASCII they spell, the rest as code points."""
    if text and all(0xE0000 <= ord(c) <= 0xE007F for c in text):
        return "tags that spell " + repr("".join(chr(ord(c) - 0xE0000) for c in text if ord(c) > 0xE001F))
    shown = " ".join(f"U+{ord(c):04X}" for c in text[:8])
    return shown + (f" and {len(text) - 8} more" if len(text) > 8 else "")


def _bidi(text: str) -> Iterator[Find]:
    """Direction controls on lines where they have nothing to do, or that are never closed, and every override."""
    for first in _lines_with(_BIDI, text):
        start, end = first
        line = text[start:end]
        allowed = _RTL.search(line) is not None
        n_open = sum(map(line.count, _OPENERS)) + sum(map(line.count, _OVERRIDES))
        closed = n_open == sum(map(line.count, _CLOSERS))
        for match in _BIDI.finditer(line):
            is_mark = match.group() in _MARKS
            if match.group() in _OVERRIDES or not allowed or (not is_mark and not closed):
                yield "bidi", start + match.start(), start + match.end()


def _lines_with(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """Start and end of the lines in which `pattern` is found, each once."""
    at = 0
    while match := pattern.search(text, at):
        start = text.rfind("\n", 0, match.start()) + 1
        end = text.find("\n", match.end())
        end = len(text) if end < 0 else end
        yield start, end
        at = end
