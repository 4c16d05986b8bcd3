"""Pages that need nothing but themselves: one style, a few building blocks, and everything from outside escaped.

The one idea: a page is a string that opens from a file, in any browser, without a network, in light and in dark. Text
of people enters only through `escape`, so a corpus that holds `<script>` shows it and never runs it.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from groundup.core.files import readable_bytes

# Okabe and Ito 2008, "Color Universal Design": told apart with every common kind of colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #667079; --line: #e3e6ea; --paper: #fdfdfc; --card: #f5f6f6;
  --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6e8; --soft: #98a1a9; --line: #30353b; --paper: #15181b; --card: #1d2125; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 3.5rem 1.5rem 6rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 2rem; line-height: 1.2; font-weight: 650; letter-spacing: -0.015em; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; font-weight: 650; margin: 3.2rem 0 .9rem; }
h3 { font-size: .95rem; font-weight: 600; margin: 1.6rem 0 .5rem; }
p { margin: .5rem 0; max-width: 44rem; } .soft, figcaption, th { color: var(--soft); } a { color: var(--accent); }
code, pre, .text, .piece { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { font-size: .88em; overflow-wrap: break-word; }
pre { background: var(--card); border-radius: 8px; padding: .9rem 1.1rem; overflow-x: auto; font-size: .86rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: 1.6rem 1.5rem;
  margin: 2.2rem 0 1rem; }
.tile b { display: block; font-size: 1.6rem; font-weight: 600; letter-spacing: -0.01em; line-height: 1.25; }
.tile span { display: block; color: var(--soft); font-size: .85rem; line-height: 1.35; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th { text-align: left; font-weight: 500; } th, td { padding: .34rem 1.6rem .34rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); } td.number, th.number { text-align: right; }
.scroll { overflow-x: auto; }
figure { margin: 0; } figcaption { font-size: .85rem; margin-bottom: .2rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(27rem, 100%), 1fr)); gap: 1.8rem 2rem; }
svg { width: 100%; height: auto; color: var(--ink); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem; }
.text { background: var(--card); border-radius: 8px; padding: .9rem 1.1rem; white-space: pre-wrap; font-size: .84rem;
  line-height: 1.55; overflow-wrap: anywhere; } .text b { color: var(--accent); font-weight: 600; }
.pieces { font-size: .9rem; line-height: 2.1; overflow-wrap: anywhere; }
.piece { border-radius: 4px; padding: .16em .1em; white-space: pre-wrap; }
.bar { min-width: 14rem; padding-left: .3rem; }
.row { display: flex; flex-wrap: wrap; gap: .35rem .18rem; margin: .8rem 0; }
.exercise { display: flex; flex-direction: column; gap: .12rem; } .exercise .piece { font-size: .8rem; line-height: 1.5; }
.exercise .piece + .piece { opacity: .72; } .nothing { color: var(--soft); }
details { margin: .8rem 0; } summary { cursor: pointer; color: var(--soft); }
"""


def escape(value: object) -> str:
    """`value` as text that HTML shows and never obeys."""
    return html.escape(str(value), quote=True)


def printable(text: str) -> str:
    """`text` with what does not show made visible: `↵` a line break, `⇥` a tab, control characters as `\\x1b`."""
    return "".join("↵" if c == "\n" else "⇥" if c == "\t" else c if c.isprintable() else ascii(c)[1:-1] for c in text)


def page(title: str, body: str, script: str = "") -> str:
    """A whole page. `title` is escaped here; `body` and `script` are ours and hold only what is escaped already."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n"
        + (f"<script>{script}</script>\n" if script else "")
        + "</body>\n</html>\n"
    )


@dataclass(frozen=True)
class Raw:
    """HTML of our own that a table cell takes as it is."""

    html: str


def table(rows: Iterable[Sequence[object]], header: Sequence[object] = ()) -> str:
    """A table of escaped cells; numbers, and what is given as a `float` or `int`, stand to the right."""

    def cell(tag: str, value: object, is_number: bool) -> str:
        content = value.html if isinstance(value, Raw) else escape("" if value is None else value)
        return f'<{tag} class="number">{content}</{tag}>' if is_number else f"<{tag}>{content}</{tag}>"

    rows = [list(row) for row in rows]
    numeric = [
        bool(rows) and all(_is_number(row[i]) for row in rows if i < len(row))
        for i in range(max((len(row) for row in [*rows, header]), default=0))
    ]
    head = "".join(cell("th", name, numeric[i]) for i, name in enumerate(header))
    body = "".join("<tr>" + "".join(cell("td", v, numeric[i]) for i, v in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table>{f"<tr>{head}</tr>" if head else ""}{body}</table></div>'


def _is_number(value: object) -> bool:
    """Whether a cell reads as a number: `12`, `1,024`, `3.5 MB`, or nothing."""
    return value is None or str(value).lstrip("+-")[:1].isdecimal() or str(value) in ("", "–")


def coloured_pieces(pieces: Iterable[tuple[str, str]]) -> str:
    """(piece, what hovering over it tells) in a row, neighbours in different colours; line breaks stay visible."""
    spans = []
    for index, (piece, tip) in enumerate(pieces):
        shown = escape(printable(piece)).replace("↵", "↵\n")
        colour = COLOURS[index % len(COLOURS)]
        spans.append(f'<span class="piece" style="background: {colour}40" title="{escape(tip)}">{shown}</span>')
    return f'<div class="pieces">{"".join(spans)}</div>'


def readable_seconds(seconds: float) -> str:
    """`75` as `1 min 15 s`, `0.0123` as `12.3 ms`."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {whole:02d} s"


def readable_count(number: float) -> str:
    """`1_234_567` as `1.23 million`; up to 99,999 in full."""
    if abs(number) < 100_000:
        return f"{number:,.0f}"
    for size, name in (
        (1e15, "quadrillion"),
        (1e12, "trillion"),
        (1e9, "billion"),
        (1e6, "million"),
        (1e3, "thousand"),
    ):
        if abs(number) >= size:
            return f"{number / size:.3g} {name}"
    raise AssertionError(number)


def readable(number: float | None, unit: str = "") -> str:
    """A figure with its unit: `seconds` and `bytes` in readable sizes, counts in words, others as they are."""
    if number is None:
        return "–"
    if unit == "seconds":
        return readable_seconds(number)
    if unit == "bytes":
        return readable_bytes(number)
    if unit in ("tokens", "parameters", "FLOPs"):
        return f"{readable_count(number)} {unit}"
    return f"{number:.4g} {unit}".rstrip()
