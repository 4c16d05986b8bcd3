"""A table of numbers as a picture: a square for each, darker the larger, its value written in it or told by pointing at it.

The one idea: zero has no colour, what is above is blue and what is below orange, so signs are seen at once; what is not
there (minus infinity, a token that may not be looked at) is left open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from groundup.inspect.page import COLOURS, escape

_CELL, _LETTER, _LABEL = 46, 7.2, 13  # of a square with its number; of a letter and a line of the labels
_MOST_WRITTEN = 12  # columns up to which the numbers are written


def heat_map(
    values: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    what: str = "",
    largest: float | None = None,
    every: int = 1,
) -> str:
    """An `<svg>` of `values`, a row for each of `rows`; a label is written for `every` so many rows and columns.

    The darkest is the `largest` absolute value (None: of all shown). `what` names the numbers for those who do not see.
    """
    finite = [abs(value) for row in values for value in row if math.isfinite(value)]
    largest = largest or max(finite, default=1.0) or 1.0
    written = len(columns) <= _MOST_WRITTEN
    width, height = (_CELL, 26) if written else (max(4.0, 560 / len(columns)), max(4.0, 360 / max(len(rows), 1)))
    left = _LETTER * max((len(row) for row in rows), default=0) + 8
    top = _LABEL + 6
    parts = []
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            if math.isfinite(value):
                place = f'x="{left + j * width:.1f}" y="{top + i * height:.1f}"'
                parts.append(_square(place, width, height, value, largest, f"{rows[i]} · {columns[j]}"))
                if written:
                    ink = ' fill="white"' if abs(value) / largest > 0.6 else ""
                    where = f'x="{left + (j + 0.5) * width:.1f}" y="{top + i * height + 17:.1f}"'
                    parts.append(f'<text {where} text-anchor="middle"{ink}>{value:.2f}</text>')
    for i, label in enumerate(rows):
        if i % every == 0:
            y = top + (i + 0.5) * height + 4
            parts.append(f'<text x="{left - 6:.1f}" y="{y:.1f}" text-anchor="end">{escape(label)}</text>')
    for j, label in enumerate(columns):
        if j % every == 0:
            x = left + (j + 0.5) * width
            parts.append(f'<text x="{x:.1f}" y="{top - 5:.1f}" text-anchor="middle">{escape(label)}</text>')
    size = (left + len(columns) * width + 2, top + len(rows) * height + 2)
    return (
        f'<svg viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" style="max-width: {size[0]:.0f}px" role="img" '
        f'aria-label="{escape(what)}" font-family="system-ui, sans-serif" font-size="11" fill="currentColor">'
        f"{''.join(parts)}</svg>"
    )


def _square(place: str, width: float, height: float, value: float, largest: float, tip: str) -> str:
    colour = COLOURS[0] if value >= 0 else COLOURS[1]
    return (
        f'<rect {place} width="{width - 0.6:.1f}" height="{height - 0.6:.1f}" fill="{colour}" '
        f'fill-opacity="{min(1.0, abs(value) / largest):.3f}"><title>{escape(tip)}: {value:.4f}</title></rect>'
    )
