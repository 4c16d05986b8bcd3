"""Resolving: every setting that was left out gets its value, once, before training; the run folder keeps them all.

Sizes, batch, time and arithmetic come from the planner, learning rates from the recipe. A resumed run finds `config.yaml`
resolved and derives nothing anew, so it cannot decide otherwise.
"""

from __future__ import annotations

from typing import Any

import torch

from groundup.core.progress import Reporter
from groundup.core.runs import RunFolder
from groundup.data.mixture import Mixture, settled_mix
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.planner import DEFAULT_SECONDS, Plan, plan
from groundup.pretraining.reading import said_reading
from groundup.pretraining.shape import SHAPE, model_config
from groundup.pretraining.watching import prompt_from
from groundup.tokenization.tokenizer import Tokenizer

# Settings that nobody gives all of by hand: where they all stand, the file was written here.
DERIVED = (
    "size",
    "n_layers",
    "context_length",
    "batch_size",
    "micro_batch_size",
    "warmup",
    "threads",
    "evaluation_tokens",
)
BUDGETS = ("time", "tokens", "steps", "epochs")


def resolve(
    config: PretrainConfig,
    run: RunFolder,
    mixture: Mixture,
    tokenizer: Tokenizer,
    reporter: Reporter,
    *,
    world_size: int = 1,
) -> tuple[PretrainConfig, Plan]:
    """The settings with nothing left to derive, and the plan they came from; both are kept in the run folder.

    `world_size` is the number of processes that train together.
    """
    if all(getattr(config, name) is not None for name in DERIVED) and run.plan.exists():
        return config, Plan.read(run.plan)
    chosen = plan(mixture, config, world_size=world_size, reporter=reporter)
    told = said_reading(mixture, config, chosen)
    for line in (*chosen.table(), *told, chosen.reason, chosen.precision_reason, chosen.compile_reason):
        reporter.say(line)
    values: dict[str, Any] = config.model_dump() | chosen.settings()
    if config.time is None and any(getattr(config, name) for name in BUDGETS):
        values |= {"steps": chosen.steps, "tokens": None, "epochs": None}
    else:
        values["time"] = config.time or DEFAULT_SECONDS
    # Sums in another number of threads round differently: a resumed run must use as many.
    values["threads"] = config.threads or torch.get_num_threads()
    if config.sample_prompt is None:
        values["sample_prompt"] = prompt_from(mixture.splits("validation"), tokenizer)
    if config.mix:
        values |= {"mix": settled_mix(config.mix, mixture), "mix_alpha": None}
    shape = model_config(PretrainConfig.build(values), tokenizer)
    values |= {name: getattr(shape, name) for name in SHAPE if name in type(shape).model_fields}
    resolved = PretrainConfig.build(_without_effectless(values), source="the resolved settings")
    chosen.write(run.plan)
    resolved.write(run.config)  # last: a resolved config promises a plan
    return resolved, chosen


def _without_effectless(values: dict[str, Any]) -> dict[str, Any]:
    """Zero dropout is no dropout: an architecture without any would refuse it by name."""
    return values | ({"dropout": None} if not values.get("dropout") else {})
