"""A heat map shows every number that is there, in the colour of its sign."""

import math
import re

from groundup.inspect.heat_map import heat_map
from groundup.inspect.page import COLOURS


def test_squares_signs_and_what_is_hidden():
    svg = heat_map([[1.0, -0.5], [-math.inf, 0.0]], ["a<b", "c"], ["x", "y"], what="scores")
    squares = re.findall(r'fill="(#\w+)" fill-opacity="([\d.]+)"><title>([^<]*)</title>', svg)
    assert squares == [
        (COLOURS[0], "1.000", "a&lt;b · x: 1.0000"),
        (COLOURS[1], "0.500", "a&lt;b · y: -0.5000"),
        (COLOURS[0], "0.000", "c · y: 0.0000"),
    ]
    assert "a<b" not in svg
    assert ">-0.50</text>" in svg


def test_many_columns_write_no_numbers_and_every_fourth_label():
    svg = heat_map([[0.25] * 20], ["row"], [f"c{j}" for j in range(20)], largest=0.5, every=4)
    assert re.findall(r">(c\d+)</text>", svg) == ["c0", "c4", "c8", "c12", "c16"]
    assert ">0.25</text>" not in svg
    assert svg.count('fill-opacity="0.500"') == 20


def test_nothing_to_see():
    assert heat_map([[-math.inf]], ["a"], ["b"]).count("<rect") == 0
