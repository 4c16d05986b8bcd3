"""Noticing that a run has gone wrong, before it spends the rest of its time on it.

The one idea: a single bad batch is not a divergence, a median of them is. One loss far above the others is common and
heals (PaLM, section 5.1, saw about 20 such spikes); a loss whose *median over the last steps* stands well above the
best such median does not come back. A loss or gradient that is no finite number has no way back at all, and is told
at once. A rise that may still become a divergence stops nothing but the saving of states, where waiting is cheap and a
bad state in place of a good one is not.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from itertools import pairwise

WINDOW = 16  # steps the median is taken over: few enough to stop early, enough that batches of one row do not fool it
CLIMB = 0.3  # nats above the best median, where no state should replace an older one any more
RISE = 1.5  # nats per target above the best median; characters know ln 65 = 4.2 in all, and fall below 2.5 at once


@dataclass(frozen=True)
class StepFigures:
    """What a step measured: mean loss per target, gradient norm before clipping, tokens read (over all ranks)."""

    loss: float
    gradient_norm: float
    n_tokens: int


class DivergenceWatch:
    """Looks at every step's loss and gradient norm; its memory travels in the training state."""

    def __init__(self, recent: list[float] | None = None, best: float | None = None) -> None:
        self.recent = list(recent or [])
        self.best = best

    def trouble(self, figures: StepFigures) -> str | None:
        """What is wrong after a step with these figures, in words, or None when nothing is."""
        loss, gradient_norm = figures.loss, figures.gradient_norm
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(gradient_norm):
            return f"the gradient's norm is {gradient_norm} (the loss is {loss:.4g})"
        self.recent = [*self.recent[1 - WINDOW :], loss]
        if len(self.recent) < WINDOW:
            return None
        median = statistics.median(self.recent)
        self.best = median if self.best is None else min(self.best, median)
        if median > self.best + RISE:
            return f"the loss has risen from {self.best:.3f} to {median:.3f} (medians of {WINDOW} steps)"
        return None

    @property
    def climbing(self) -> bool:
        """Whether the loss, the last or the median, stands so high that this may become a divergence."""
        if self.best is None:
            return False
        # With small batches the median seldom comes back to that of its luckiest window. So noise is allowed for,
        # measured between neighbours, where a climb hardly shows: simulated noise of 1 nat then held a save back for
        # 28 of 20,000 steps at most, and for 2,000 without.
        noise = statistics.median(abs(b - a) for a, b in pairwise(self.recent))
        return max(statistics.median(self.recent), self.recent[-1]) > self.best + max(CLIMB, 2 * noise)

    def memory(self) -> dict[str, object]:
        """The arguments that build this watch again."""
        return {"recent": self.recent, "best": self.best}
