"""Twenty steps of a real small training against the losses it had when it was last looked at.

A change that makes learning worse, and breaks no rule a unit test knows, shows here. The tolerance is for other processors
and other versions of torch. When the curve is meant to change, look at the difference, then write the new numbers down:
`GROUNDUP_WRITE_GOLDEN=1 pytest tests/training/test_golden_curve.py`.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import torch

from groundup.data.batches import Batch
from groundup.training.job import Budget
from groundup.training.loop import train
from groundup.training.metrics import MetricsLog
from groundup.training.schedules import warmup_stable_decay

CURVE = Path(__file__).with_name("golden_curve.txt")
TEXT = "the cat sat on the mat and the dog sat on the log; " * 40


def test_twenty_steps_follow_the_golden_curve(make_job):
    letters = sorted(set(TEXT))
    text = torch.tensor([letters.index(letter) for letter in TEXT])

    def batches(step):
        starts = torch.randint(0, len(text) - 17, (8,), generator=torch.Generator().manual_seed(step))
        rows = torch.stack([text[start : start + 17] for start in starts.tolist()])
        return [Batch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())]

    metrics = MetricsLog()
    schedule = partial(warmup_stable_decay, warmup_steps=3, decay=0.5)
    train(make_job(batches=batches, budget=Budget(steps=20), schedule=schedule), metrics=metrics)
    losses = [row["train_loss"] for row in metrics.rows]
    if os.environ.get("GROUNDUP_WRITE_GOLDEN"):
        CURVE.write_text("".join(f"{loss:.4f}\n" for loss in losses))
    assert losses == pytest.approx([float(line) for line in CURVE.read_text().split()], abs=0.03)
