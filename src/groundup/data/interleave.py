"""The order in which the sources of a mixture take turns: as even as whole rows can be, and known in closed form.

One idea: in every `period` rows each source has a whole number of turns, and its turn number j has a window of time in
which it must come: not before row j / share, not after row (j + 1) / share. Giving each row to the source whose
window closes first keeps all of them (Baruah, Cohen, Plaxton and Varvel 1996, "Proportionate progress"; the bound is that of
Tijdeman 1980, "The chairman assignment problem"): after any number of rows, each source has had its share of them to less
than one row. Where a source would come twice running and another can take the row without anybody being late, it does; so a
source follows itself only where its share is over a half and leaves no other way. The period repeats, so the source of
any row, and how often it was there before, are two look-ups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Interleave:
    """Whose turn it is at each row of an endless stream in which source i has `parts[i]` of every `sum(parts)` rows."""

    def __init__(self, parts: Sequence[int]) -> None:
        assert parts, "a mixture has sources"
        assert min(parts) >= 1, parts
        self.parts = tuple(parts)
        self.period = sum(parts)
        self._sources = np.array(turns(parts), np.int64)
        self._counts = np.zeros((self.period + 1, len(parts)), np.int64)  # turns of each source before each row
        self._counts[1:] = (self._sources[:, None] == np.arange(len(parts))).cumsum(axis=0)

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(source of each position, number of rows that source had before it), int64, the shape of `positions`."""
        periods, offsets = np.divmod(positions, self.period)
        sources = self._sources[offsets]
        return sources, periods * np.array(self.parts)[sources] + self._counts[offsets, sources]

    def counts(self, n: int) -> np.ndarray:
        """How many of the first `n` rows are of each source, int64 [sources]."""
        periods, offset = divmod(n, self.period)
        return periods * np.array(self.parts) + self._counts[offset]


def turns(parts: Sequence[int]) -> list[int]:
    """The source of each row of one period."""
    period = sum(parts)
    done = [0] * len(parts)
    order: list[int] = []
    for row in range(period):
        # (row by which the turn must be over, the larger source first, source) of those whose window is open
        due = sorted(
            (-(-(done[i] + 1) * period // part), -part, i)
            for i, part in enumerate(parts)
            if done[i] * period // part <= row
        )
        chosen = due[0]
        if order and chosen[2] == order[-1] and chosen[0] > row + 1:
            n_urgent = sum(deadline <= row + 2 for deadline, _, _ in due)
            others = (each for each in due[1:] if n_urgent - (each[0] <= row + 2) <= 1)
            chosen = next(others, chosen)
        assert row < chosen[0], f"source {chosen[2]} of {parts} is late at row {row}"
        done[chosen[2]] += 1
        order.append(chosen[2])
    return order


def rows_per_epoch(n_rows: Sequence[int], parts: Sequence[int]) -> float:
    """Rows of a mixture after which the average row that was read has been read once.

    Source i, with a share s of the stream, has been read n s / n_i times after n rows; weighted by how many of the rows are
    its own, that is n times the sum of s^2 / n_i. With shares as the sizes, or one source, it is the sum of the sizes.
    """
    total = sum(parts)
    return 1 / sum((part / total) ** 2 / n for part, n in zip(parts, n_rows, strict=True))
