"""What a method of training hands to the loop: a `Job`, with its budget and hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from groundup.core.errors import GroundupError
from groundup.training.metrics import Row
from groundup.training.objectives import Objective
from groundup.training.optimizers import Optimizer
from groundup.training.saving import Place
from groundup.training.schedules import warmup_stable_decay

if TYPE_CHECKING:
    from groundup.training.objectives import TrainedModel, TrainingBatch


@dataclass(frozen=True)
class Budget:
    """How long to train: steps, or seconds on the training clock (on which compiling, evaluations and saves count)."""

    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.seconds is None):
            raise GroundupError(f"a budget is steps or seconds, one of the two; found {self.steps} and {self.seconds}")
        if self.total <= 0:
            raise GroundupError(f"a budget of {self.total:g} {self.unit} trains nothing; give more than 0")

    @property
    def total(self) -> float:
        return self.steps if self.steps is not None else self.seconds or 0.0

    @property
    def unit(self) -> str:
        return "steps" if self.steps is not None else "seconds"

    def spent(self, place: Place) -> float:
        """How much of `total` is used up at a place, in its unit."""
        return place.step if self.steps is not None else place.elapsed_seconds

    def allows_step(self, place: Place, step_seconds: float) -> bool:
        """Whether one more step, which takes about `step_seconds`, still ends inside the budget."""
        if self.steps is not None:
            return place.step < self.steps
        return place.elapsed_seconds < self.total and place.elapsed_seconds + step_seconds <= self.total


@dataclass(frozen=True)
class Hook:
    """A function called between steps: every so many steps, or seconds of the clock, or when the budget is spent.

    It runs on rank 0 only. What it returns is logged as a row of the step. It may use the model and any random numbers
    freely (every step seeds its own), but must not change the weights.
    """

    function: Callable[[Place], Row | None]
    every_steps: int | None = None
    every_seconds: float | None = None
    at_end: bool = False

    def due(self, before: Place, now: Place) -> bool:
        """Whether a multiple of an interval lies between two places; so hooks need no memory across a resume."""
        if self.every_steps is not None and now.step // self.every_steps > before.step // self.every_steps:
            return True
        every = self.every_seconds
        return every is not None and now.elapsed_seconds // every > before.elapsed_seconds // every


@dataclass(frozen=True)
class Job:
    """Everything a training is made of; rows have MFU when `flops_per_token` and `ceiling_flops` are given."""

    model: TrainedModel
    batches: Callable[[int], Sequence[TrainingBatch]]  # step -> the micro-batches of this rank; a pure function
    objective: Objective  # (model, batch) -> sum of the losses of the batch's targets
    optimizer: Optimizer
    budget: Budget
    schedule: Callable[[int, float], float] = warmup_stable_decay  # (steps done, share of the budget spent) -> factor
    hooks: tuple[Hook, ...] = ()
    gradient_clip: float = 1.0
    seed: int = 0  # of dropout and whatever else a step draws
    save_every_seconds: float = 60.0
    setup_seconds: float = 0.0  # what compiling took before a new run's first step; its clock begins there
    steps_per_epoch: float | None = None
    flops_per_token: float | None = None
    ceiling_flops: float | None = None  # per second, of all ranks together
