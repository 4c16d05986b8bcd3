"""What each way of telling positions makes of a distance, against sums done here."""

import io
import math

import pytest
from rich.console import Console

from groundup.core.errors import GroundupError
from groundup.inspect.positions import Positions, positions_html, positions_terminal, rotary_products, sinusoid_products


def test_products_are_means_of_cosines():
    sizes = Positions(n_positions=20, d_model=8, d_head=6, rope_theta=100.0)
    waves = [10_000 ** -(2 * pair / 8) for pair in range(4)]
    expected = [sum(math.cos(distance * wave) for wave in waves) / 4 for distance in range(20)]
    assert sinusoid_products(sizes).tolist() == pytest.approx(expected, abs=1e-6)
    waves = [100 ** -(2 * pair / 6) for pair in range(3)]
    expected = [sum(math.cos(distance * wave) for wave in waves) / 3 for distance in range(20)]
    assert rotary_products(sizes).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_table_by_distance():
    out = io.StringIO()
    Console(file=out, width=100).print(positions_terminal(Positions(n_positions=33, n_heads=8)))
    rows = [line.split() for line in out.getvalue().splitlines()[1:8]]
    assert [row[0] for row in rows] == ["0", "1", "2", "4", "8", "16", "32"]
    assert rows[0][1:] == ["1.000", "1.000", "0.000", "0.000"]
    assert rows[-1][3:] == ["-16.000", "-0.125"]


def test_the_page():
    html = positions_html(Positions(n_positions=200))
    assert html.count("<svg") == 5
    assert html.count("<rect") > 64 * 64


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"d_head": 7}, "d_head 7 is odd"),
        ({"n_positions": 1}, "1 positions"),
        ({"n_heads": 0}, "n_heads 0"),
        ({"n_heads": 10**20}, "n_heads 1e.20"),
        ({"rope_theta": float("nan")}, "rope_theta nan"),
        ({"rope_theta": float("inf")}, "rope_theta inf"),
    ],
)
def test_sizes_that_cannot_be_shown_are_refused(sizes, words):
    with pytest.raises(GroundupError, match=words):
        positions_terminal(Positions(**sizes))
