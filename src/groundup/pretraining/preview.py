"""A plan without a run: the text is prepared in a temporary folder when need be, the plan made, shown and given back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from groundup.core.progress import QUIET, Reporter
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.planner import Plan, readable_seconds
from groundup.pretraining.planner import plan as plan_prepared
from groundup.pretraining.resolve import check_model
from groundup.pretraining.text import check_text, text_stage


def plan(data: str | Path | Sequence[str | Path], *, reporter: Reporter = QUIET, **settings: Any) -> Plan:
    """The plan that `pretrain` with the same arguments would make; nothing is kept on disk.

    Raises `GroundupError` for text and settings that cannot be used.
    """
    paths = (data,) if isinstance(data, str | Path) else tuple(data)
    config = PretrainConfig.build(settings | {"data": tuple(os.path.abspath(path) for path in paths)}, source="plan")
    check_model(config)
    check_text(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    with tempfile.TemporaryDirectory(prefix="groundup-plan-") as folder:
        store, _ = text_stage(config, Path(folder), reporter)
        chosen = plan_prepared(store, config, reporter=reporter)
    for line in chosen.table():
        reporter.say(line)
    reporter.say(chosen.reason)
    reporter.say(
        f"forecast    {readable_seconds(chosen.wall_seconds)}, validation loss {chosen.loss:.3f} "
        f"({chosen.bits_per_byte:.3f} bits per byte), nothing was trained"
    )
    return chosen
