"""The one training loop: every job, from pretraining to preferences, is trained by `train`.

The one idea: a step is a pure function of (weights, optimizer, seed, step number). So what happens between steps, be
it an evaluation, a sample, a save, or a kill and a resume, cannot change what is learned. The loop never prints: it
talks to a `Reporter`, a `MetricsLog` and the job's hooks.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from groundup.core.progress import QUIET, Reporter
from groundup.training.distributed import ALONE, Ranks
from groundup.training.divergence import DivergenceWatch, StepFigures
from groundup.training.interrupts import catch_interrupts
from groundup.training.job import Budget, Hook, Job
from groundup.training.memory import keep_freed_memory
from groundup.training.metrics import MetricsLog, Row
from groundup.training.saving import Keeper, Place
from groundup.training.step import seed_step, take_step

__all__ = ["Budget", "Hook", "Job", "Place", "TrainingResult", "train"]


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended, and where; `message` tells a person what happened and what to do."""

    outcome: Literal["finished", "interrupted", "diverged"]
    place: Place
    message: str
    loss: float | None = None  # of the last step; None when none was taken


def train(
    job: Job,
    *,
    state_folder: Path | None = None,
    metrics: MetricsLog | None = None,
    reporter: Reporter = QUIET,
    ranks: Ranks = ALONE,
) -> TrainingResult:
    """Train until the budget is spent, going on from the newest state in `state_folder` when there is one.

    Ctrl-C finishes the step, saves and returns "interrupted". A loss that is not finite or explodes returns
    "diverged", with the newest state put back; so none is saved while the loss climbs. Without a `state_folder`, which
    only rank 0 needs, nothing is saved. The global random generators are set anew at every step.
    """
    keep_freed_memory()
    metrics = metrics or MetricsLog()
    keeper = Keeper(state_folder, job.model, job.optimizer, job.save_every_seconds)
    place, watch = keeper.load(reporter) or (Place(elapsed_seconds=job.setup_seconds), DivergenceWatch())
    metrics.truncate(place.step)
    if place.step:
        reporter.say(f"going on after step {place.step:,}, {place.elapsed_seconds:.0f} s into the training")
    place = keeper.share(place, ranks)
    job.model.train()

    clock_zero = time.perf_counter() - place.elapsed_seconds

    def clock() -> float:
        return time.perf_counter() - clock_zero

    recent_seconds: deque[float] = deque([0.0], maxlen=9)
    called: list[Hook] = []
    loss = problem = None
    begun = job.budget.spent(place)
    with catch_interrupts() as interrupted, reporter.bar("training", job.budget.total, job.budget.unit, begun) as bar:
        while True:
            # Rank 0's clock, signals and memory of losses decide for all: else the ranks would part ways.
            place = replace(place, elapsed_seconds=clock())
            step_seconds = statistics.median_low(recent_seconds)
            done = place.finished_budget == job.budget.total or not job.budget.allows_step(place, step_seconds)
            numbers = ranks.from_main(place.elapsed_seconds, done, interrupted(), problem is not None)
            elapsed, done, stop, diverged = numbers[0], *map(bool, numbers[1:])
            place = replace(place, elapsed_seconds=elapsed)
            if diverged or done or stop:
                break

            factor = job.schedule(place.step, job.budget.spent(place) / job.budget.total)
            seed_step(job.seed, place.step, ranks.rank)
            figures = take_step(job, place.step, factor, ranks)
            loss = figures.loss
            if problem := watch.trouble(figures) if ranks.is_main else None:
                continue
            before, place = place, Place(place.step + 1, place.n_tokens + figures.n_tokens, clock())
            recent_seconds.append(place.elapsed_seconds - before.elapsed_seconds)

            if ranks.is_main:
                row = _row(job, before, place, figures, factor)
                metrics.log(row)
                bar.set(job.budget.spent(place), info=_info(row))
                called = [hook for hook in job.hooks if hook.due(before, place)]
                _call(called, job, place, metrics)
                if keeper.due(watch):
                    metrics.flush()  # first, so that every step in the state has its row
                    keeper.save(replace(place, elapsed_seconds=clock()), watch)

        if diverged:
            return _diverged(place, problem, loss, keeper, reporter, ranks)
        if ranks.is_main and place.step and place.finished_budget != job.budget.total:
            if done:
                _call([hook for hook in job.hooks if hook.at_end and hook not in called], job, place, metrics)
                place = replace(place, finished_budget=job.budget.total)
            metrics.flush()
            place = replace(place, elapsed_seconds=clock())
            keeper.save(place, watch)
    return TrainingResult("finished" if done else "interrupted", place, _ending(job, place, done, state_folder), loss)


def _call(hooks: list[Hook], job: Job, place: Place, metrics: MetricsLog) -> None:
    for hook in hooks:
        row = hook.function(place)
        if row:
            metrics.log({"step": place.step} | row)
    if hooks:
        job.model.train()  # a hook that evaluates has switched dropout off


def _row(job: Job, before: Place, now: Place, figures: StepFigures, factor: float) -> Row:
    """What a step is remembered by."""
    seconds = now.elapsed_seconds - before.elapsed_seconds
    tokens_per_second = figures.n_tokens / seconds
    row: Row = {
        "step": now.step,
        "tokens": now.n_tokens,
        "train_loss": figures.loss,
        "learning_rate": job.optimizer.settings.matrix_learning_rate * factor,
        "gradient_norm": figures.gradient_norm,
        "step_seconds": seconds,
        "tokens_per_second": tokens_per_second,
        "elapsed_seconds": now.elapsed_seconds,
    }
    if job.steps_per_epoch:
        row["epoch"] = now.step / job.steps_per_epoch
    if job.flops_per_token and job.ceiling_flops:
        row["mfu"] = tokens_per_second * job.flops_per_token / job.ceiling_flops
    return row


def _info(row: Row) -> str:
    """What stands beside the bar."""
    mfu = f" · MFU {row['mfu']:.0%}" if "mfu" in row else ""
    return f"step {row['step']:,} · loss {row['train_loss']:.3f} · {row['tokens_per_second']:,.0f} tokens/s{mfu}"


def _ending(job: Job, place: Place, done: bool, state_folder: Path | None) -> str:
    if done:
        return f"trained {place.step:,} steps, {place.n_tokens:,} tokens, in {place.elapsed_seconds:.1f} s"
    kept = f"the state is saved in {state_folder}" if state_folder is not None and place.step else "nothing is saved"
    return f"stopped at {job.budget.spent(place):,.0f} of {job.budget.total:,.0f} {job.budget.unit}; {kept}"


def _diverged(
    place: Place, problem: str | None, loss: float | None, keeper: Keeper, reporter: Reporter, ranks: Ranks
) -> TrainingResult:
    """Put the last good state back on every rank, and say what to do (rank 0, which alone knows the problem)."""
    found = keeper.load(reporter)
    kept_place = keeper.share(found[0] if found else place, ranks)
    kept = (
        f"the state after step {found[0].step:,} is kept in {keeper.folder}" if found else "no state had been saved yet"
    )
    advice = "start again with half the learning rate or a longer warm-up; resuming would take the same steps again"
    message = f"training diverged at step {place.step + 1:,}: {problem}; {kept}; {advice}"
    return TrainingResult("diverged", kept_place, message, loss)
