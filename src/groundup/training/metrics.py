"""Where a run's figures go: rows of named numbers, one a step, units in the names.

The loop speaks to the small class `MetricsLog`; `RunMetrics` writes `metrics.jsonl` and TensorBoard events.
"""

from __future__ import annotations

from typing import Any

from groundup.core.runs import RunFolder

Row = dict[str, Any]


class MetricsLog:
    """Rows kept in memory; what keeps them on disk overrides all three methods."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def log(self, row: Row) -> None:
        """Add a row; each has a `step`."""
        self.rows.append(row)

    def truncate(self, step: int) -> None:
        """Forget the rows past `step`: a resumed run takes those steps again, and each step has one row."""
        self.rows = [row for row in self.rows if row["step"] <= step]

    def flush(self) -> None:
        """Return when every row so far would survive a kill; called before each save of the training state."""


class RunMetrics(MetricsLog):
    """Rows written to a run folder."""

    def __init__(self, run: RunFolder) -> None:
        super().__init__()
        self._run = run

    def log(self, row: Row) -> None:
        self._run.log(row)

    def truncate(self, step: int) -> None:
        self._run.truncate_metrics(step)

    def flush(self) -> None:
        self._run.flush()
