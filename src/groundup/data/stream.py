"""The stream: which row of which source stands at each place of a training, for ever.

One idea: nothing is drawn and nothing remembered. The sources take turns (interleave.py); the turns of a source are laid
end to end, epoch after epoch, each epoch in its own order (order.py). So the row at a place is a pure function of (seed, place).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundup.data.interleave import Interleave
from groundup.data.order import Permutation


class RowStream:
    """Rows of sources that have `n_rows[i]` rows each, source i taking `parts[i]` of every `sum(parts)` places."""

    def __init__(self, n_rows: Sequence[int], parts: Sequence[int], seed: int) -> None:
        assert len(n_rows) == len(parts), (n_rows, parts)
        self.n_rows = tuple(n_rows)
        self.interleave = Interleave(parts)
        self._seed = seed
        self._orders: dict[int, tuple[int, Permutation]] = {}  # source -> (epoch, its order): the ones used last

    def __call__(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(source, row of it) at each place, int64 [len(places)]."""
        sources, turns = self.interleave(places)
        indices = np.empty_like(turns)
        for source in np.unique(sources).tolist():
            of_source = sources == source
            epochs, positions = np.divmod(turns[of_source], self.n_rows[source])
            found = np.empty_like(positions)
            for epoch in np.unique(epochs).tolist():
                here = epochs == epoch
                found[here] = self._order(source, epoch)(positions[here])
            indices[of_source] = found
        return sources, indices

    def _order(self, source: int, epoch: int) -> Permutation:
        kept_epoch, order = self._orders.get(source, (-1, None))
        if order is None or kept_epoch != epoch:
            order = Permutation(self.n_rows[source], self._seed, epoch, source)
            self._orders[source] = epoch, order
        return order
