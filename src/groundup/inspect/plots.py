"""Curves as SVG: sharp at every size, text that can be selected, colours for every kind of eyes.

The one idea: the drawing knows no background. Axes and text are drawn in `currentColor`, so a page in light or dark
gives them its own ink. matplotlib draws (its Figure objects, no pyplot, no window); it is loaded on the first curve.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from groundup.inspect.page import COLOURS

_INK = "#010203"  # a colour nobody chooses: it becomes `currentColor` in the finished drawing
_WIDEST_NAME = 84  # letters of a legend that a figure has room for
_MOST_POINTS = 200


@dataclass(frozen=True)
class Series:
    """One curve: `x` and `y` of equal length; a `y` that is None or NaN is left out."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    marked: bool = False  # a dot at each point, for curves of few points


def line_chart(
    series: Sequence[Series], x_label: str, *, from_zero: bool = False, log_x: bool = False, y_max: float | None = None
) -> str:
    """The curves in one chart, as an `<svg>` element to stand in a page.

    A curve of more than 200 points is drawn as the means of 200 equal stretches, over a faint band from the least to
    the greatest value of each. A curve without points is left out; without any the chart is empty. `from_zero` begins
    the vertical axis at zero, so that small changes look small; `log_x` gives every doubling of x the same room.
    What lies above `y_max` is cut off.
    """
    figure, axes = _figure((6.2, 3.3))
    for index, one in enumerate(series):
        x, y = _finite_points(one)
        if not len(x):
            continue
        colour = COLOURS[index % len(COLOURS)]
        if len(x) > _MOST_POINTS:
            cuts = np.linspace(0, len(x), _MOST_POINTS + 1).astype(int)[:-1]
            counts = np.diff([*cuts, len(x)])
            low, high = np.minimum.reduceat(y, cuts), np.maximum.reduceat(y, cuts)
            x, y = np.add.reduceat(x, cuts) / counts, np.add.reduceat(y, cuts) / counts
            axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        marker = "o" if one.marked or len(x) == 1 else None
        axes.plot(x, y, color=colour, linewidth=1.6, label=one.name, marker=marker, markersize=3.5)
    axes.set_xlabel(x_label)
    axes.margins(x=0.02)
    if y_max is not None and axes.lines and axes.dataLim.ymax > y_max > axes.dataLim.ymin:
        axes.set_ylim(top=y_max)
    if log_x and axes.lines:
        ticks = sorted({float(x) for one in series for x in _finite_points(one)[0]})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    if x_label == "step":
        axes.xaxis.get_major_locator().set_params(integer=True)
    if from_zero and axes.lines:
        axes.set_ylim(0, 1.06 * axes.dataLim.ymax or 1)
    if len(series) > 1 and axes.lines:
        axes.legend(frameon=False, labelcolor=_INK)
    return _svg(figure)


def bar_chart(labels: Sequence[str], values: Mapping[str, Sequence[float]], x_label: str) -> str:
    """A group of lying bars for each label, one for each name in `values`, as an `<svg>` element."""
    thickness = 0.8 / max(len(values), 1)
    longest = min(max(map(len, values), default=0), _WIDEST_NAME)
    n_columns = max(1, min(3, _WIDEST_NAME // (longest + 6)))
    legend_inches = 0.2 * -(-len(values) // n_columns) if len(values) > 1 else 0
    figure, axes = _figure((7.0, 0.8 + legend_inches + max(len(labels), 1) * (0.14 + 0.13 * len(values))))
    rows = np.arange(len(labels))
    for index, (name, lengths) in enumerate(values.items()):
        places = rows - 0.4 + (index + 0.5) * thickness
        label = name if len(name) <= _WIDEST_NAME else "…" + name[1 - _WIDEST_NAME :]
        axes.barh(places, lengths, height=thickness, color=COLOURS[index % len(COLOURS)], label=label)
    axes.set_yticks(rows, labels, parse_math=False)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel(x_label)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=_INK, alpha=0.12, linewidth=0.8)
    axes.set_axisbelow(True)
    if len(values) > 1:
        figure.legend(frameon=False, labelcolor=_INK, loc="outside upper center", ncols=n_columns)
    return _svg(figure)


def _finite_points(series: Series) -> tuple[np.ndarray, np.ndarray]:
    """The points that can be drawn, in the order of x."""
    x = np.array(series.x, dtype=float)
    y = np.array([np.nan if value is None else value for value in series.y], dtype=float)
    kept = np.isfinite(x) & np.isfinite(y)
    order = np.argsort(x[kept], kind="stable")
    return x[kept][order], y[kept][order]


def _figure(size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    for part in (*axes.spines.values(), axes.xaxis.label, axes.yaxis.label):
        part.set_color(_INK)
    axes.tick_params(colors=_INK, labelsize=9)
    axes.grid(axis="y", color=_INK, alpha=0.12, linewidth=0.8)
    return figure, axes


def _svg(figure: Any) -> str:
    """The figure as an `<svg>` element: text kept as text, no marks of when or by what it was made."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "groundup", "font.family": "sans-serif"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # matplotlib measures text with its own font; the browser that draws it has others for the rest of the world.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        no_marks = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(out, metadata=no_marks)
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = svg.replace(COLOURS[0], f"var(--accent, {COLOURS[0]})")  # lighter where the page is dark
    svg = re.sub(r' id="[\w.]+_\d+"', "", svg)  # names nothing refers to, the same in every chart of a page
    return re.sub(r'font-family: [^;"]*', "font-family: system-ui, sans-serif", svg)
