"""Architectures side by side: the same text, tokenizer and budget, parameters as near as each dial allows.

The one idea: a comparison is a folder of ordinary runs. Each model is pretrained as `groundup pretrain` would, one after the
other, in a process of its own (so the memory is its own) with the batch, the arithmetic and the learning rates of its own
plan; what is the same for all is settled first and written down, so the same call goes on where it was stopped, and another
model can be added later.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic
import torch

from groundup.checkpoints.model_folder import load_model
from groundup.core.config import Config
from groundup.core.device import pick_device
from groundup.core.errors import GroundupError, unknown_name
from groundup.core.files import write_atomically
from groundup.core.progress import QUIET, Reporter
from groundup.core.runs import RunFolder, undone_when_refused
from groundup.generation.speed import lengths_up_to, writing_speed
from groundup.inspect.architecture_comparison import ComparedModel, Comparison, comparison_page
from groundup.inspect.run_report import merged_rows
from groundup.models import ModelConfig, architecture_names, config_for_size
from groundup.pretraining.checking import checked_config
from groundup.pretraining.child_run import train_in_child
from groundup.pretraining.config import OF_ONE_MODEL, PretrainConfig
from groundup.pretraining.matching import Matched, match_parameters
from groundup.pretraining.plan import readable_seconds
from groundup.pretraining.planner import DEFAULT_SECONDS, default_context_length, plan
from groundup.pretraining.resolve import BUDGETS
from groundup.pretraining.text import TEXT_SETTINGS, text_stage

SETTLED = "comparison.yaml"
PAGE = "comparison.html"
_TEXT = (*TEXT_SETTINGS, "tokenizer", "tokenizer_algorithm", "byte_fallback", "data")


class Settled(Config):
    """What all models of a comparison share; `comparison.yaml` of its folder."""

    given: dict[str, Any] = pydantic.Field(description="the settings as they were given")
    data: str = pydantic.Field(description="the prepared text")
    vocab_size: int
    context_length: int
    parameters: int = pydantic.Field(description="parameters each model comes as near to as it can")


def compare_architectures(
    data: str | Path | Sequence[str | Path],
    *,
    models: Sequence[str],
    out: str | Path,
    parameters: int | None = None,
    reporter: Reporter = QUIET,
    **settings: Any,
) -> Comparison:
    """Train each of `models` (names of architectures) on `data` with the same budget, and lay the results side by side.

    The size is that of the first model: of `size` on the dial, or of the planner's choice for the budget; or `parameters`
    says how many. `settings` are fields of `PretrainConfig`, the same for all. Runs that are finished are not trained
    again. Writes the runs and `comparison.html` into `out`. Raises `GroundupError`, before anything is trained, for settings
    that a model cannot be trained with, naming it; refused before a run began, it leaves nothing behind.
    """
    out = Path(out)
    config = _checked(data, models, settings, parameters)
    if config.threads:
        torch.set_num_threads(config.threads)
    runs, before = [out / name for name in models], set(out.glob("*"))
    begun = [file for run in runs for file in (RunFolder(run).plan, run.with_name(f"{run.name}.log"))]
    with undone_when_refused(out, before, begun):
        settled, matched = _trained(config, models, tuple(settings), out, parameters, reporter)
    found = _measured(matched, settled, out, reporter)
    write_atomically(out / PAGE, comparison_page(found))
    return found


def _trained(
    config: PretrainConfig,
    models: Sequence[str],
    given: tuple[str, ...],
    out: Path,
    parameters: int | None,
    reporter: Reporter,
) -> tuple[Settled, dict[str, Matched]]:
    """Settle what is the same for all and train each; what was settled, and the matched models by name."""
    settled = _settle(config, given, out, parameters, reporter)
    shape = {"tie_embeddings": settled.given.get("tie_embeddings", True)}
    matched = {
        name: match_parameters(name, settled.parameters, settled.vocab_size, settled.context_length, **shape)
        for name in models
    }
    files = {name: _settings_file(name, one.config, settled, out) for name, one in matched.items()}
    reporter.say(f"data        {settled.data}, {settled.vocab_size:,} tokens, context {settled.context_length:,}")
    for name, one in matched.items():
        reporter.say(
            f"{name:<11} {one.config.n_layers} layers of width {one.config.d_model}, {one.n_parameters:,} parameters "
            f"({one.off:+.1%} of {settled.parameters:,})"
        )
    for name, file in files.items():
        train_in_child(name, file, out / name, reporter)
        summary = RunFolder.open(out / name).read_summary()
        reporter.say(f"{name:<11} validation loss {_number(summary.val_loss)}, {out / name}")
    return settled, matched


def _checked(data: Any, models: Sequence[str], settings: dict[str, Any], parameters: int | None) -> PretrainConfig:
    """The settings of the first model; refuses at once what cannot be compared, every model and every setting by name."""
    if not models:
        raise GroundupError("no models to compare; name architectures, as in --models gpt2,qwen3")
    for name in models:
        if name not in architecture_names():
            raise unknown_name("architecture", name, architecture_names())
    if twice := sorted({name for name in models if list(models).count(name) > 1}):
        raise GroundupError(f"{', '.join(twice)}: named more than once; a comparison trains each architecture once")
    if decided := [name for name in OF_ONE_MODEL if name in settings]:
        raise GroundupError(
            f"{' and '.join(decided)} cannot be set for all models of a comparison; it matches them by parameters (--size, "
            "--parameters)"
        )
    if parameters is not None and "size" in settings:
        raise GroundupError(f"size {settings['size']} and parameters {parameters:,} are both given; leave one out")
    configs: list[PretrainConfig] = []
    problems: dict[str, list[str]] = {}
    for name in models:
        try:
            configs.append(checked_config(data, None, settings | {"architecture": name}))
        except GroundupError as error:
            problems.setdefault(str(error), []).append(name)
    if problems:
        told = (
            problem if len(names) == len(models) > 1 else f"{', '.join(names)}: {problem}"
            for problem, names in problems.items()
        )
        raise GroundupError("; ".join(told))
    return configs[0]


def _settle(
    config: PretrainConfig, names: tuple[str, ...], out: Path, parameters: int | None, reporter: Reporter
) -> Settled:
    """What the models share: read from the folder when the comparison has begun there, else decided now.

    `config` is that of the first model, `names` the settings that were given.
    """
    given = config.model_dump(mode="json", include={*names, "data"})
    if parameters is not None:
        given["parameters"] = parameters
    path = out / SETTLED
    if path.is_file():
        settled = Settled.read(path)
        changed = [name for name in settled.given | given if settled.given.get(name) != given.get(name)]
        if changed:
            told = ", ".join(f"{name} {settled.given.get(name)!r} then, {given.get(name)!r} now" for name in changed)
            raise GroundupError(f"{out} holds a comparison with other settings ({told}); choose another --out")
        return settled
    if out.is_dir() and any((out / name).is_dir() for name in architecture_names()):
        raise GroundupError(f"{out} holds runs but no {SETTLED}, so they are not of a comparison; choose another --out")
    mixture, tokenizer = text_stage(config, out, reporter)
    n_tokens = mixture.n_tokens("train")
    context_length = config.context_length or max(1, min(default_context_length(n_tokens), n_tokens - 1))
    tie, first = config.tie_embeddings is not False, config.architecture
    if parameters is None:
        size = config.size
        if size is None:
            chosen = plan(
                mixture,
                config.model_copy(update={"context_length": context_length, "tie_embeddings": tie}),
                reporter=reporter,
            )
            reporter.say(f"{chosen.reason}; the others are matched to {first}")
            size = chosen.size
        model = config_for_size(size, tokenizer.vocab_size, context_length, first, tie_embeddings=tie)
        parameters = model.n_parameters()
    settled = Settled(
        given=given,
        data=os.path.abspath(mixture.store.folder),
        vocab_size=tokenizer.vocab_size,
        context_length=context_length,
        parameters=parameters,
    )
    settled.write(path)
    return settled


def _settings_file(name: str, model: ModelConfig, settled: Settled, out: Path) -> Path:
    """Write what `groundup pretrain --config` needs for one model; refuse when its run was begun with something else."""
    kept = {key: value for key, value in settled.given.items() if key not in (*_TEXT, "parameters", "size")}
    if not any(kept.get(budget) for budget in BUDGETS):
        kept["time"] = DEFAULT_SECONDS
    config = PretrainConfig.build(
        kept
        | {
            "data": [settled.data],
            "architecture": name,
            "size": f"d{model.n_layers}",
            "n_layers": model.n_layers,
            "d_model": model.d_model,
            "context_length": settled.context_length,
            "tie_embeddings": model.tie_embeddings,
        },
        source=name,
    )
    path = out / f"{name}.yaml"
    if (out / name).is_dir() and path.is_file() and PretrainConfig.read(path) != config:
        raise GroundupError(
            f"{out / name} was begun with other settings than {path.name} would have now; choose another --out"
        )
    config.write(path)
    return path


def _measured(matched: dict[str, Matched], settled: Settled, out: Path, reporter: Reporter) -> Comparison:
    """What the runs came to, from their folders, and how fast the models write."""
    device = pick_device(settled.given.get("device", "auto"))
    opened = {name: load_model(out / name / "model", dtype=torch.float32, device=device)[0] for name in matched}
    lengths = lengths_up_to(settled.context_length)
    speeds = writing_speed(opened, lengths, reporter=reporter)
    compared = []
    for name, one in matched.items():
        run = RunFolder.open(out / name)
        config, summary, rows = PretrainConfig.read(run.config), run.read_summary(), merged_rows(run.read_metrics())
        cost = summary.cost
        looks = [row for row in rows if "val_loss" in row and "tokens" in row]
        compared.append(
            ComparedModel(
                name=name,
                run=str(out / name),
                n_layers=one.config.n_layers,
                d_model=one.config.d_model,
                n_parameters=one.n_parameters,
                n_block_parameters=one.config.n_parameters(embeddings=False),
                precision=config.precision,
                batch_size=config.batch_size or 0,
                n_tokens=cost.n_tokens if cost else None,
                training_seconds=cost.training_seconds if cost else None,
                peak_memory_bytes=cost.peak_memory_bytes if cost else None,
                tokens_per_second=statistics.median(
                    row["tokens_per_second"] for row in rows if "tokens_per_second" in row
                ),
                val_loss=summary.val_loss,
                val_bits_per_byte=summary.val_bits_per_byte,
                state_bytes=one.config.state_bytes(settled.context_length),
                looks=tuple((row["tokens"], row["elapsed_seconds"], row["val_loss"]) for row in looks),
                losses=tuple(
                    (row["tokens"], row["elapsed_seconds"], row["train_loss"]) for row in rows if "train_loss" in row
                ),
                writing_speed=speeds[name],
                sample=next(((row["prompt"], row["text"]) for row in reversed(run.read_samples())), None),
            )
        )
    return Comparison(
        models=tuple(compared),
        data=settled.data,
        vocab_size=settled.vocab_size,
        context_length=settled.context_length,
        target_parameters=settled.parameters,
        budget=_budget(settled.given),
    )


def _budget(given: dict[str, Any]) -> str:
    for unit in ("tokens", "steps", "epochs"):
        if given.get(unit):
            return f"{given[unit]:,} {unit}"
    return f"{readable_seconds(given.get('time') or DEFAULT_SECONDS)} of training"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"
