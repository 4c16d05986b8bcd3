"""Charts are valid SVG, the same every time, and know no background."""

import math
import re
import sys
import xml.etree.ElementTree as ET

import pytest

from groundup.inspect.plots import Series, bar_chart, line_chart


def texts(svg):
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_text_stays_text_and_ink_is_the_pages():
    svg = line_chart([Series("a <b> & $x_1$", [1, 2], [3.0, 4.0]), Series("b", [1], [2.0])], "step")
    assert {"step", "b"} <= set(texts(svg))
    assert "currentColor" in svg
    assert "#ffffff" not in svg
    assert "http" not in svg.replace("http://www.w3.org", "")  # only the names of the SVG namespaces


def test_the_same_numbers_give_the_same_drawing():
    series = [Series("a", range(1000), [math.sin(i) for i in range(1000)])]
    assert line_chart(series, "step") == line_chart(series, "step")


@pytest.mark.parametrize("y", [[], [None, None], [float("nan"), float("inf")], [1.0, None]])
def test_missing_points_are_left_out(y):
    ET.fromstring(line_chart([Series("a", range(len(y)), y), Series("b", [], [])], "step"))


def test_long_curves_stay_small():
    svg = line_chart([Series("a", range(100_000), [float(i % 7) for i in range(100_000)])], "step")
    assert len(svg) < 60_000


def test_from_zero():
    series = [Series("a", [1, 2], [1000.0, 1001.0])]
    assert "0" in texts(line_chart(series, "seconds", from_zero=True))
    assert "0" not in texts(line_chart(series, "seconds"))
    ET.fromstring(line_chart([Series("a", [1], [0.0])], "step", from_zero=True))


def test_what_is_too_high_is_cut_off():
    series = [Series("a", [1, 2, 3], [90.0, 3.0, 2.0])]
    highest = lambda svg: max(float(text) for text in texts(svg) if text.replace(".", "").isdecimal())  # noqa: E731
    assert highest(line_chart(series, "seconds")) >= 80
    assert highest(line_chart(series, "seconds", y_max=5.0)) <= 5
    assert line_chart(series, "seconds", y_max=100.0) == line_chart(series, "seconds")


def test_every_doubling_has_the_same_room():
    numbers = [text for text in texts(line_chart([Series("a", [16, 32, 64, 256], [1.0] * 4)], "tokens", log_x=True))]
    assert numbers[:4] == ["16", "32", "64", "256"]


def test_steps_are_whole():
    numbers = [text for text in texts(line_chart([Series("a", [1, 3], [0.0, 1.0])], "step")) if text != "step"]
    assert "1.5" not in numbers
    assert {"1", "2", "3"} <= set(numbers)


def test_pyplot_is_never_loaded():
    line_chart([Series("a", [1], [1.0])], "step")
    assert "matplotlib.pyplot" not in sys.modules


def test_long_names_of_bars_stay_in_the_picture():
    names = {f"a tokenizer number {i} with a long name": [1.0] for i in range(5)} | {"x" * 200: [2.0]}
    drawing = bar_chart(["text"], names, "figure")
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', drawing)[1])
    places = [float(x) for x in re.findall(r'<text[^>]*?(?: x="| transform="translate\()(-?[\d.]+)', drawing)]
    legend = [text for text in texts(drawing) if "tokenizer" in text or "xx" in text]
    assert len(legend) == 6 and legend[-1] == "…" + "x" * 83
    assert all(0 <= place <= width for place in places)
