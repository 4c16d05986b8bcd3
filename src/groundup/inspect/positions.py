"""What a model is told about positions: sinusoids, rotary angles and linear biases, as pictures and by distance.

The one idea: attention compares tokens, so what counts is what each way of telling positions makes of a *distance*. The
products of sinusoids and of turned vectors fall with it in waves, whatever the position; linear biases fall in straight
lines, each head's its own.

Shapes: T positions, D numbers of the embedding, P pairs of a head, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from rich.console import Group, RenderableType
from rich.text import Text
from torch import Tensor

from groundup.core.errors import GroundupError
from groundup.inspect.heat_map import heat_map
from groundup.inspect.page import page
from groundup.inspect.plots import Series, line_chart
from groundup.inspect.terminal import terminal_table
from groundup.models.layers.alibi import alibi_slopes
from groundup.models.layers.position import Rotary, check_pairs, sinusoids

_MOST_POSITIONS = 4096
_WIDEST = 16384
_DRAWN = 64  # rows of a table of positions that are drawn


@dataclass(frozen=True)
class Positions:
    """How many positions to look at, and the sizes of the model they are told to."""

    n_positions: int = 64
    d_model: int = 64
    d_head: int = 32
    n_heads: int = 8
    rope_theta: float = 10_000.0

    def check(self) -> None:
        """Raise GroundupError for sizes that cannot be shown."""
        if not 2 <= self.n_positions <= _MOST_POSITIONS:
            raise GroundupError(f"{self.n_positions} positions; give 2 to {_MOST_POSITIONS}")
        for name, most in (("d_model", _WIDEST), ("d_head", _WIDEST), ("n_heads", _WIDEST), ("rope_theta", 1e30)):
            if not 0 < (value := getattr(self, name)) <= most:  # as no `nan` is
                raise GroundupError(f"{name} {value:g} must be above zero and at most {most:g}")
        try:
            check_pairs(self.d_head)
        except ValueError as error:
            raise GroundupError(str(error)) from None


def sinusoid_table(sizes: Positions) -> Tensor:
    """What is added to the embedding: [T, D]."""
    return sinusoids(torch.arange(sizes.n_positions)[None], sizes.d_model)[0]


def rotary_products(sizes: Positions) -> Tensor:
    """The product of a vector of ones with itself turned by each distance, divided by its length squared: [T]."""
    cos, _ = Rotary(sizes.d_head, sizes.rope_theta).angles(torch.arange(sizes.n_positions)[None])
    return cos[0, :, 0].mean(-1)


def sinusoid_products(sizes: Positions) -> Tensor:
    """The product of the sinusoids at zero with those at each distance, divided by that at zero: [T]."""
    table_TD = sinusoid_table(sizes)
    return table_TD @ table_TD[0] / (table_TD[0] @ table_TD[0])


def positions_terminal(sizes: Positions) -> RenderableType:
    """What attention is told by distance: a row for each distance 0, 1, 2, 4 and so on."""
    sizes.check()
    slopes = alibi_slopes(sizes.n_heads)
    steep, flat = max(slopes), min(slopes)
    distances = [0, *(2**power for power in range(sizes.n_positions.bit_length()) if 2**power < sizes.n_positions)]
    sines, turned = sinusoid_products(sizes), rotary_products(sizes)
    rows = [
        (
            distance,
            *(
                f"{value:.3f}"
                for value in (sines[distance], turned[distance], 0.0 - steep * distance, 0.0 - flat * distance)
            ),
        )
        for distance in distances
    ]
    header = ("distance", "sinusoids", "rotary", f"alibi, slope {steep:g}", f"slope {flat:g}")
    return Group(
        terminal_table(header, rows, numbers=range(5)),
        Text("sinusoids and rotary: a vector's product with itself that far away, 1 at no distance"),
        Text(f"alibi: added to the score; {sizes.n_heads} heads have slopes {', '.join(f'{s:g}' for s in slopes)}"),
    )


def positions_html(sizes: Positions) -> str:
    """A page with the tables as heat maps and what each way makes of a distance as curves."""
    sizes.check()
    drawn = min(sizes.n_positions, _DRAWN)
    places = [str(t) for t in range(drawn)]
    table = sinusoid_table(sizes)[:drawn].tolist()
    numbers = [str(d) for d in range(sizes.d_model)]
    cos, sin = Rotary(sizes.d_head, sizes.rope_theta).angles(torch.arange(drawn)[None])
    turned = torch.cat((cos[0, :, 0], sin[0, :, 0]), dim=1).tolist()
    pairs = [f"{kind} {p}" for kind in ("cos", "sin") for p in range(sizes.d_head // 2)]
    distances = list(range(sizes.n_positions))
    slopes = alibi_slopes(sizes.n_heads)
    curves = [
        Series("sinusoids", distances, sinusoid_products(sizes).tolist()),
        Series("rotary", distances, rotary_products(sizes).tolist()),
    ]
    lines = [Series(f"slope {slope:g}", distances, [-slope * d for d in distances]) for slope in slopes[:6]]
    order_T = torch.arange(min(drawn, 24))
    distance_TT = order_T[:, None] - order_T
    biases = (-slopes[0] * distance_TT).masked_fill(distance_TT < 0, -torch.inf).tolist()
    small = [str(t) for t in order_T.tolist()]
    body = (
        "<h1>Positions</h1><p class='soft'>Down: the position. Blue is above zero, orange below.</p>"
        "<h2>Sinusoids</h2><p>Added to the embedding: each pair of numbers is a sine and a cosine, fast in the first pairs, "
        f"slow in the last (Vaswani et al. 2017).</p>{heat_map(table, places, numbers, what='sinusoids', largest=1.0, every=8)}"
        "<h2>Rotary</h2><p>Cosine and sine of the angle by which each pair of a query or key is turned (Su et al. 2021).</p>"
        f"{heat_map(turned, places, pairs, what='rotary angles', largest=1.0, every=8)}"
        "<h2>Linear biases</h2><p>Taken off the scores of the first head: a key counts for less the farther back it lies "
        f"(Press et al. 2022).</p>{heat_map(biases, small, small, what='linear biases', every=4)}"
        '<h2>By distance</h2><div class="charts"><figure><figcaption>a vector\'s product with itself that far away, 1 at no '
        f"distance</figcaption>{line_chart(curves, 'distance')}</figure><figure><figcaption>added to the score by linear "
        f"biases, a line for each head (six at most)</figcaption>{line_chart(lines, 'distance')}</figure></div>"
    )
    return page("Positions", body)
