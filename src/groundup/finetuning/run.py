"""A fine-tuning run, whatever the method: the run folder, the data, the one loop, the report.

The one idea: a method is a module beside this one that says what is trained on what (`Config`, `collect`, `prepare`), and all
else is the same for all of them. As in pretraining, a new run and a resumed one take the same path: make the next thing
that is missing, and go on.

    collect: files -> examples in the run folder      prepare: model + examples -> a `Tuning`, every setting resolved
    -> look (before) -> training, with looks -> model folder, read back -> report
"""

from __future__ import annotations

import functools
import importlib
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from groundup.core.device import peak_memory_bytes, pick_device
from groundup.core.errors import GroundupError, unknown_name
from groundup.core.files import read_json, write_json
from groundup.core.progress import QUIET, Reporter
from groundup.core.runs import (
    CostSummary,
    DataSummary,
    Row,
    RunFolder,
    RunSummary,
    method_of,
    undone_when_refused,
)
from groundup.finetuning.config import FinetuneConfig
from groundup.inspect.run_report import write_report
from groundup.training.distributed import Ranks, join_ranks
from groundup.training.loop import Budget, Hook, Job, Place, TrainingResult, train
from groundup.training.metrics import RunMetrics
from groundup.training.objectives import Objective, TrainedModel, TrainingBatch
from groundup.training.optimizers import Optimizer, OptimizerSettings
from groundup.training.precision import compiled
from groundup.training.schedules import warmup_stable_decay

METHODS = ("classify", "instruct", "prefer")
LARGEST_DIFFERENCE = 1e-4  # of fp32 logits of the model folder read back; rounding explains no more


@dataclass(frozen=True)
class Look:
    """What a look at the model between steps found: a row for the metrics, and a line for the person."""

    row: Row  # val_loss among it
    line: str
    samples: tuple[tuple[str, str], ...] = ()  # (prompt, what the model writes after it)


@dataclass(frozen=True)
class Tuning:
    """What a method makes of its settings: everything the run needs to know of it."""

    config: FinetuneConfig  # resolved
    model: TrainedModel
    batches: Callable[[int], Sequence[TrainingBatch]]
    objective: Objective
    steps_per_epoch: float
    look: Callable[[], Look]  # on the validation examples; the weights are not touched
    save: Callable[[Path], None]  # writes the model folder, whole or not at all
    verify: Callable[[Path], float]  # the largest |difference| of fp32 logits of the folder read back
    finish: Callable[[RunFolder], None]  # measures and writes what the method's report shows (before the report)
    n_parameters: int
    facts: dict[str, Any] = field(default_factory=dict)  # of the model, a name and a value a line
    notes: tuple[str, ...] = ()
    data: DataSummary | None = None
    next_commands: tuple[str, ...] = ()
    hashes: dict[str, str] = field(
        default_factory=dict
    )  # of the base model, tokenizer, data: a resume must find the same


class Method(Protocol):
    """A module of this room."""

    Config: type[FinetuneConfig]

    def collect(self, config: Any, run: RunFolder, reporter: Reporter) -> None:
        """Read the data into the run folder's `data/`; at once when that is done. Rank 0 only."""

    def prepare(self, config: Any, run: RunFolder, ranks: Ranks, reporter: Reporter) -> Tuning:
        """Open the model and the examples, and resolve what was left out."""
        ...


@dataclass(frozen=True)
class FinetuneResult:
    """How a run ended: its folder, `finished` or `interrupted`, the last row of its figures."""

    path: Path
    outcome: Literal["finished", "interrupted"]
    scores: Row
    max_logit_difference: float | None  # of the model folder read back

    @property
    def interrupted(self) -> bool:
        return self.outcome == "interrupted"


def finetune(
    method: str,
    model: str | Path,
    data: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    config: FinetuneConfig | None = None,
    reporter: Reporter = QUIET,
    **settings: Any,
) -> FinetuneResult:
    """Fine-tune `model` on `data` by `method` (classify, instruct, prefer) into a new run folder `out`.

    `settings` are the fields of the method's `Config` and win over `config`; what is left out is derived. Raises
    `GroundupError` for settings and data that cannot be used (a refused run leaves nothing behind), and when the
    training diverges (the last good state is kept).
    """
    paths = [str(data)] if isinstance(data, str | Path) else [str(path) for path in data]
    values = (config.model_dump(exclude_unset=True) if config else {}) | settings
    # A run is gone on with from any folder; a name of the hub or of a package is no path.
    found = Path(model).resolve() if Path(model).exists() else model
    values |= {"method": method, "model": str(found), "data": paths}
    checked = _module(method).Config.build(values, source=f"finetune {method}")
    with join_ranks(pick_device(checked.device)) as ranks:
        if not ranks.is_main:
            return _follow(Path(out), ranks)
        before = set(Path(out).glob("*"))
        RunFolder.create(out, checked, sys.argv).close()
        with undone_when_refused(Path(out), before):
            return _go_on(Path(out), ranks, reporter)


def resume(run: str | Path, *, reporter: Reporter = QUIET) -> FinetuneResult:
    """Go on with a run that was stopped or killed, from whatever it had finished.

    With a budget in steps or epochs the weights become those of a run that was never stopped, to the bit (CPU, same number of
    threads). Raises `GroundupError` when the folder holds no such run, or its model or data have changed.
    """
    config, _ = _read(RunFolder.open(run))
    with join_ranks(pick_device(config.device)) as ranks:
        return _go_on(Path(run), ranks, reporter) if ranks.is_main else _follow(Path(run), ranks)


def _module(method: Any) -> Method:
    if method not in METHODS:
        raise unknown_name("method", str(method), METHODS)
    return importlib.import_module(f"groundup.finetuning.{method}")  # pyright: ignore[reportReturnType]


def _read(run: RunFolder) -> tuple[FinetuneConfig, Method]:
    method = _module(method_of(run.path))
    return method.Config.read(run.config), method


def _go_on(path: Path, ranks: Ranks, reporter: Reporter) -> FinetuneResult:
    try:
        with RunFolder.open(path, writing=True) as run:
            return _make_what_is_missing(run, ranks, reporter)
    except KeyboardInterrupt:
        reporter.say(f"stopped; go on with: groundup resume {shlex.quote(str(path))}")
        raise


def _make_what_is_missing(run: RunFolder, ranks: Ranks, reporter: Reporter) -> FinetuneResult:
    began = time.perf_counter()
    config, method = _read(run)
    if run.read_summary().status == "finished":
        reporter.say(f"{run.path} is finished; nothing is left to do")
        ranks.from_main(0.0)
        return FinetuneResult(run.path, "finished", _last_look(run), None)
    if config.threads:
        torch.set_num_threads(config.threads)
    method.collect(config, run, reporter)
    tuning = method.prepare(config, run, ranks, reporter)
    _check_unchanged(run, tuning.hashes)
    if not run.plan.exists():
        # Sums in another number of threads round differently: a resumed run must use as many.
        settled = tuning.config.model_copy(update={"threads": tuning.config.threads or torch.get_num_threads()})
        settled.write(run.config)
        write_json(run.plan, {"steps": _steps(tuning)})  # the promise that config.yaml is resolved
    ranks.from_main(1.0)  # the others may read the run folder now
    if not any("val_loss" in row for row in run.read_metrics()):
        first = tuning.look()
        _log_samples(run, 0, first)
        run.log({"step": 0, **first.row})
        reporter.say(f"before      {first.line}")
    result, compile_seconds = _train(tuning, run, ranks, reporter)
    return _finish(run, tuning, result, compile_seconds, began, ranks, reporter)


def _follow(path: Path, ranks: Ranks) -> FinetuneResult:
    """What every rank but the first does: wait for the run folder to be ready, then train its share."""
    if ranks.from_main(1.0) == [0.0]:
        return FinetuneResult(path, "finished", {}, None)
    run = RunFolder.open(path)
    config, method = _read(run)
    if config.threads:
        torch.set_num_threads(config.threads)
    result, _ = _train(method.prepare(config, run, ranks, QUIET), None, ranks, QUIET)
    return FinetuneResult(path, "interrupted" if result.outcome == "interrupted" else "finished", {}, None)


def _steps(tuning: Tuning) -> int | None:
    """The steps of the run; None where the time decides."""
    config = tuning.config
    if config.steps:
        return config.steps
    return None if config.time else max(1, round((config.epochs or 1) * tuning.steps_per_epoch))


def _train(
    tuning: Tuning, run: RunFolder | None, ranks: Ranks, reporter: Reporter
) -> tuple[TrainingResult, float | None]:
    """Train; gives also the seconds that compiling took, None when it was not asked for."""
    config, steps = tuning.config, _steps(tuning)
    assert config.learning_rate
    objective, began, compile_seconds = tuning.objective, time.perf_counter(), None
    if config.compile == "on":
        reporter.say("compiling the training step ...")
        objective = compiled(tuning.model, objective, tuning.batches(0)[0], reporter)
        compile_seconds = time.perf_counter() - began
    rate = config.learning_rate
    # AdamW for all and one rate: a pretrained model is moved a little, not made.
    settings = OptimizerSettings(rate, rate, rate, rate, "adamw", config.weight_decay, betas=(0.9, 0.999), epsilon=1e-8)
    # A time budget knows its steps only when it is over; a few dozen steps of warm-up do for any run.
    warmup_steps = round(config.warmup * (steps or 20 / max(config.warmup, 0.05)))
    budget = Budget(steps=steps) if steps else Budget(seconds=config.time)
    job = Job(
        model=tuning.model,
        batches=tuning.batches,
        objective=objective,
        optimizer=Optimizer(tuning.model, settings),
        budget=budget,
        schedule=functools.partial(warmup_stable_decay, warmup_steps=warmup_steps, decay=config.decay),
        hooks=_hooks(tuning, run, steps, reporter) if run is not None else (),
        gradient_clip=config.gradient_clip,
        seed=config.seed,
        save_every_seconds=config.save_every,
        setup_seconds=compile_seconds or 0.0,
        steps_per_epoch=tuning.steps_per_epoch,
    )
    metrics = RunMetrics(run) if run is not None else None
    state = run.state if run is not None else None
    return train(job, state_folder=state, metrics=metrics, reporter=reporter, ranks=ranks), compile_seconds


def _hooks(tuning: Tuning, run: RunFolder, steps: int | None, reporter: Reporter) -> tuple[Hook, ...]:
    """A look `evaluations` times over the budget, the last at its end; each leaves the model folder."""

    def look(place: Place) -> Row | None:
        if place.step == steps:  # the last look comes at once
            return None
        return last_look(place)

    def last_look(place: Place) -> Row:
        assert run is not None
        found = tuning.look()
        _log_samples(run, place.step, found)
        tuning.save(run.model)
        reporter.say(f"step {place.step:>7,}  {place.elapsed_seconds:>6.0f} s  {found.line}")
        return found.row

    n, seconds = tuning.config.evaluations, tuning.config.time
    at_end = Hook(last_look, at_end=True)
    if n == 1:
        return (at_end,)
    if steps:
        return (Hook(look, every_steps=max(1, -(-steps // n))), at_end)
    assert seconds
    # The last of them would fall together with the look at the end.
    return (Hook(look, every_seconds=seconds / (n - 0.5)), at_end)


def _log_samples(run: RunFolder, step: int, look: Look) -> None:
    for prompt, text in look.samples:
        run.log_sample(step, prompt, text)


def _check_unchanged(run: RunFolder, hashes: dict[str, str]) -> None:
    """Note the hashes of model and data at the first start; at every later one they must be the same."""
    environment = read_json(run.environment)
    noted = environment.get("hashes")
    if noted is None:
        write_json(run.environment, environment | {"hashes": hashes})
        return
    for what, value in hashes.items():
        if noted.get(what) != value:
            raise GroundupError(
                f"the {what} of {run.path} has changed since the run began (SHA-256 {str(noted.get(what))[:12]} then, "
                f"{value[:12]} now); put the old {what} back, or start a new run with another --out"
            )


def _last_look(run: RunFolder) -> Row:
    return next((row for row in reversed(run.read_metrics()) if "val_loss" in row), {})


def _finish(
    run: RunFolder,
    tuning: Tuning,
    result: TrainingResult,
    compile_seconds: float | None,
    began: float,
    ranks: Ranks,
    reporter: Reporter,
) -> FinetuneResult:
    """Verify the model folder, write summary and report, say what to do next."""
    difference, finished = None, result.outcome == "finished"
    if finished and not result.place.step:
        raise GroundupError("the time was over before the first step; give more time")
    if finished:
        difference = tuning.verify(run.model)
        if not difference <= LARGEST_DIFFERENCE:  # also when it is not a number
            raise GroundupError(
                f"the model folder {run.model} read back gives other logits (max |difference| {difference:.1e}); "
                "the disk or the memory of this machine is at fault: run `groundup resume` on another"
            )
        reporter.say(f"model folder read back: max |logit difference| {difference:.1e}")
        tuning.finish(run)
    scores = _last_look(run)
    next_commands = tuning.next_commands if finished else (f"groundup resume {shlex.quote(str(run.path))}",)
    run.write_summary(
        RunSummary(
            title=run.path.name,
            status=result.outcome,
            architecture=str(tuning.facts.get("architecture", tuning.config.method)),
            n_parameters=tuning.n_parameters,
            context_length=tuning.config.context_length,
            model=tuning.facts,
            data=tuning.data,
            cost=CostSummary(
                training_seconds=result.place.elapsed_seconds,
                wall_seconds=time.perf_counter() - began,
                compile_seconds=compile_seconds,
                n_tokens=result.place.n_tokens,
                peak_memory_bytes=peak_memory_bytes(ranks.device),
            ),
            val_loss=scores.get("val_loss"),
            checks={} if difference is None else {"model folder read back": f"max |logit difference| {difference:.1e}"},
            notes=tuning.notes,
            next_commands=next_commands,
        )
    )
    write_report(run)
    if result.outcome == "diverged":
        raise GroundupError(result.message)
    reporter.say(result.message)
    reporter.say(f"report      {run.report}")
    for number, command in enumerate(next_commands):
        reporter.say(f"{'next' if number == 0 else '':<12}{command}")
    return FinetuneResult(run.path, "finished" if finished else "interrupted", scores, difference)
