"""Tokens as points in the plane, one picture or two side by side; pointing at a token names it, in both.

The one idea: a cloud of points says little until one can ask each who it is. The pictures are plain SVG; a small script of
the page writes the name beside the point under the pointer and marks the same token in the other picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from groundup.inspect.page import COLOURS, escape

_SIDE, _MARGIN, _LETTER = 460, 14, 6.7  # the last: the width of a letter of a label

KINDS = {"begins a word": COLOURS[0], "inside a word": COLOURS[1], "a number": COLOURS[2], "a sign": COLOURS[3]}

STYLE = """
.map circle { cursor: crosshair; } .map text { font: 11px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  fill: currentColor; } .map .tip { font-weight: 700; paint-order: stroke; stroke: var(--paper); stroke-width: 4px; }
.map .on { stroke: currentColor; stroke-width: 2; } .map svg { border: 1px solid var(--line); border-radius: 8px; }
.kinds { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .85rem; margin: .6rem 0; } .kinds i {
  display: inline-block; width: .7rem; height: .7rem; border-radius: 50%; margin-right: .35rem; }
"""

SCRIPT = """
const maps = [...document.querySelectorAll('.map svg')];
const clear = () => {
  document.querySelectorAll('.map .tip').forEach(tip => tip.remove());
  document.querySelectorAll('.map .on').forEach(dot => dot.classList.remove('on'));
};
maps.forEach(map => map.addEventListener('mouseover', event => {
  clear();
  const id = event.target.dataset.id;
  if (id === undefined) return;
  maps.forEach(other => {
    const dot = other.querySelector(`circle[data-id="${id}"]`);
    if (!dot) return;
    dot.classList.add('on');
    const tip = document.createElementNS('http://www.w3.org/2000/svg', 'text'), x = +dot.getAttribute('cx');
    const right = x > other.viewBox.baseVal.width * .7;
    tip.setAttribute('x', x + (right ? -9 : 9));
    tip.setAttribute('y', +dot.getAttribute('cy') + 4);
    tip.setAttribute('text-anchor', right ? 'end' : 'start');
    tip.setAttribute('class', 'tip');
    tip.textContent = dot.dataset.name;
    other.append(tip);
  });
}));
"""


@dataclass(frozen=True)
class Dot:
    """A token to draw: its id, its name, what kind of piece it is, and whether its name always stands beside it."""

    id: int
    name: str
    kind: str
    is_labelled: bool


def kind_of(piece: str) -> str:
    """Which of `KINDS` a piece of text is."""
    letters = piece.strip()
    if letters.isdecimal():
        return "a number"
    if letters and all(c.isalpha() or c in "'’-_" for c in letters) and any(c.isalpha() for c in letters):
        return "begins a word" if piece[:1].isspace() else "inside a word"
    return "a sign"


def token_maps(dots: Sequence[Dot], planes: Sequence[tuple[str, Tensor]]) -> str:
    """One picture for each (title, points [N, 2] of the dots), as part of a page that has `STYLE` and `SCRIPT`."""
    shown = {dot.kind for dot in dots}
    kinds = "".join(
        f'<span><i style="background: {colour}"></i>{escape(kind)}</span>'
        for kind, colour in KINDS.items()
        if kind in shown
    )
    figures = "".join(
        f"<figure><figcaption>{escape(title)}</figcaption>{_picture(dots, points)}</figure>" for title, points in planes
    )
    return f'<div class="kinds">{kinds}</div><div class="charts map">{figures}</div>'


def _picture(dots: Sequence[Dot], points_N2: Tensor) -> str:
    """The points scaled into a square, labelled ones last, so that they lie on top; a label that has no room is left out."""
    low, high = points_N2.min(0).values, points_N2.max(0).values
    scaled_N2 = (points_N2 - low) / (high - low).clamp_min(1e-12) * (_SIDE - 2 * _MARGIN) + _MARGIN
    circles, labels = [], []
    taken: list[tuple[float, float, float]] = []  # left end, right end and height of the labels there are
    for i in sorted(range(len(dots)), key=lambda i: dots[i].is_labelled):
        dot, x, y = dots[i], scaled_N2[i, 0].item(), _SIDE - scaled_N2[i, 1].item()
        radius, opacity = (5, 1) if dot.is_labelled else (3.5, 0.65)
        name = escape(dot.name)
        circles.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{KINDS[dot.kind]}" fill-opacity="{opacity}" '
            f'data-id="{dot.id}" data-name="{name}"><title>{name}</title></circle>'
        )
        width, is_right = _LETTER * len(dot.name), x > 0.7 * _SIDE
        left = x - 8 - width if is_right else x + 8
        is_free = all(left > end or left + width < start or abs(y - at) > 11 for start, end, at in taken)
        if dot.is_labelled and is_free:
            taken.append((left, left + width, y))
            labels.append(f'<text x="{left:.1f}" y="{y + 4:.1f}">{name}</text>')
    return f'<svg viewBox="0 0 {_SIDE} {_SIDE}" role="img">{"".join(circles)}{"".join(labels)}</svg>'
