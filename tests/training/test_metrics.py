"""Rows in memory."""

from __future__ import annotations

from groundup.training.metrics import MetricsLog


def test_truncate_forgets_what_lies_past_the_step():
    log = MetricsLog()
    for step in (1, 2, 2, 3):
        log.log({"step": step})
    log.truncate(2)
    assert log.rows == [{"step": 1}, {"step": 2}, {"step": 2}]
