"""Preferences: a model becomes the one whose answers people prefer.

The one idea: the losses (training/preferences.py) need three numbers an answer, two of which never change. What the model made of
each answer before training is worked out once, and kept in the run folder; so no second model is held while training.

    pairs or judged answers -> data/answers (prefer_data.py) -> reference.npy -> training, with looks at rewards and lengths
"""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groundup.chat.renderer import Renderer
from groundup.chat.templates import find_template
from groundup.core.errors import GroundupError
from groundup.core.files import read_json
from groundup.core.progress import Reporter
from groundup.core.runs import DataSummary, RunFolder, SourceSummary, SplitSummary
from groundup.finetuning.base_model import Base, open_base, settle_precision
from groundup.finetuning.prefer_data import TRAIN, VALIDATION, Judged, PreferConfig, collect
from groundup.finetuning.prefer_rows import PreferenceRows
from groundup.finetuning.prefer_watching import PreferenceWatcher
from groundup.finetuning.run import Tuning
from groundup.models.base import LanguageModel
from groundup.training.distributed import Ranks
from groundup.training.preferences import (
    USUAL_BETA,
    WITH_REFERENCE,
    AnswerBatch,
    PreferenceObjective,
    PreferenceSettings,
    judged,
)

Config = PreferConfig
__all__ = ["Config", "collect", "prepare"]


def prepare(config: PreferConfig, run: RunFolder, ranks: Ranks, reporter: Reporter) -> Tuning:
    """Open the model and the answers, resolve what was left out, and note what the model makes of the answers now."""
    data = run.path / "data"
    answers = Judged.open(data)
    base = open_base(config, ranks.device)
    template = find_template(config.template, base.tokenizer)
    base = base.with_template(template.source, Renderer(base.tokenizer, template).stop_ids)
    config = _resolved(config, base, answers, ranks)
    rows = PreferenceRows(config, answers, ranks, data)
    config = config.model_copy(update={"precision": settle_precision(config, base, _loudness, rows.some(), reporter)})
    settings = settings_of(config)
    if settings.loss in WITH_REFERENCE:
        rows.note_reference(base.model, reporter)
    objective = PreferenceObjective(settings, rows.mismatched if settings.loss == "kto" else None)
    watcher = PreferenceWatcher(config, settings, base, answers, rows)
    sources = [SourceSummary(one["path"]) for one in read_json(data / "sources.json")["sources"]]
    lengths = answers.examples.lengths
    splits = {
        name: SplitSummary(len(answers.units(side, pairs=rows.pairs)), int(lengths[answers.side_N == side].sum()))
        for side, name in ((TRAIN, "train"), (VALIDATION, "validation"))
    }
    tokens = torch.from_numpy(answers.examples.example(0)[0].astype(np.int64))
    return Tuning(
        config=config,
        model=base.model,
        batches=rows,
        objective=objective,
        steps_per_epoch=rows.steps_per_epoch,
        look=watcher.look,
        save=base.save,
        verify=lambda folder: base.verify(folder, tokens[: base.model.config.max_length]),
        finish=watcher.finish,
        n_parameters=base.model.config.n_parameters(),
        facts=base.facts() | {"template": template.name, "loss": settings.describe()},
        notes=watcher.notes(),
        data=DataSummary(tuple(sources), splits, "Pairs of answers" if rows.pairs else "Answers judged one by one"),
        next_commands=(f"groundup chat {shlex.quote(str(run.path))}",),
        hashes={"model": base.sha256, "data": answers.key},
    )


def _resolved(config: PreferConfig, base: Base, answers: Judged, ranks: Ranks) -> PreferConfig:
    """The settings with nothing left to derive but the precision."""
    values: dict[str, Any] = config.model_dump()
    for name, loss in (("gamma", "simpo"), ("liked_weight", "kto"), ("disliked_weight", "kto")):
        if values[name] is not None and config.loss != loss:
            raise GroundupError(f"{name} {values[name]:g} has no effect with loss {config.loss}; leave it out")
    if config.loss == "kto" and config.disliked_weight is None and config.liked_weight is None:
        # Both kinds count the same in sum (Ethayarajh et al. 2024, section 4.2: the ratio of weight times number about 1).
        liked = answers.liked_N[answers.side_N == TRAIN]
        values["disliked_weight"] = round(float(liked.sum() / max(1, (~liked).sum())), 4)
    batch_size = config.batch_size or 8 * ranks.world_size
    share = batch_size // ranks.world_size
    return PreferConfig.build(
        values
        | {
            "beta": config.beta or USUAL_BETA[config.loss],
            "context_length": int(answers.examples.lengths.max()),
            "batch_size": batch_size,
            "micro_batch_size": config.micro_batch_size or next(n for n in (4, 3, 2, 1) if share % n == 0),
            "epochs": config.epochs or (None if config.steps or config.time else 1.0),
            "learning_rate": config.learning_rate or learning_rate(base.has_adapter, config.loss),
        },
        source="the resolved settings",
    )


def learning_rate(has_adapter: bool, loss: str) -> float:
    """The peak rate: what is learned from preferences is learned with small steps, tenfold for adapters.

    DPO was published at 1e-6 for all weights of 2.8B (Rafailov et al. 2023, appendix B), smaller models bear more, and adapters
    take about ten times as much as the whole (Schulman et al. 2025, "LoRA Without Regret"). 2e-4 was tried with adapters on 135M
    (benchmarks/RESULTS.md). ORPO learns the answers too (its appendix B takes 8e-6 where DPO takes 5e-7 to 5e-6).
    """
    whole = 4e-5 if loss == "orpo" else 2e-5
    return whole * (10 if has_adapter else 1)


def _loudness(model: LanguageModel, batch: AnswerBatch) -> Tensor:
    """What the arithmetic is timed with: a loss that needs nothing but the batch."""
    return -judged(model, batch).policy_N.sum()


def settings_of(config: PreferConfig) -> PreferenceSettings:
    """The loss with its constants, all of them resolved."""
    return PreferenceSettings(
        config.loss,
        config.beta or USUAL_BETA[config.loss],
        1.0 if config.gamma is None else config.gamma,
        config.liked_weight or 1.0,
        config.disliked_weight or 1.0,
    )
