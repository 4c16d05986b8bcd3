"""A plan without a run: the text is prepared in a temporary folder when need be, the plan made, shown and given back."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from groundup.core.progress import QUIET, Reporter
from groundup.pretraining.checking import checked_config
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.planner import Plan, readable_seconds
from groundup.pretraining.planner import plan as plan_prepared
from groundup.pretraining.reading import said_reading
from groundup.pretraining.text import text_stage


def plan(
    data: str | Path | Sequence[str | Path] | None = None,
    *,
    config: PretrainConfig | None = None,
    reporter: Reporter = QUIET,
    **settings: Any,
) -> Plan:
    """The plan that `pretrain` with the same arguments would make; nothing is kept on disk.

    Raises `GroundupError` for text and settings that cannot be used.
    """
    config = checked_config(data, config, settings)
    if config.threads:
        torch.set_num_threads(config.threads)
    with tempfile.TemporaryDirectory(prefix="groundup-plan-") as folder:
        mixture, _ = text_stage(config, Path(folder), reporter)
        chosen = plan_prepared(mixture, config, reporter=reporter)
        told = said_reading(mixture, config, chosen)
    for line in (*chosen.table(), *told, chosen.reason):
        reporter.say(line)
    reporter.say(
        f"forecast    {readable_seconds(chosen.wall_seconds)}, validation loss {chosen.loss:.3f} "
        f"({chosen.bits_per_byte:.3f} bits per byte), nothing was trained"
    )
    return chosen
