"""The course of a training: what a budget comes to for one model, in batches, steps and seconds.

One idea: every second of the training stage is somebody's. Compiling, steps, and the evaluations, samples and saves between
them are on the loop's clock; the last look (all of the validation text, a sample, the last save) comes after the loop, so its
time is set aside first. The stage then ends when the time given is up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from groundup.core.errors import GroundupError
from groundup.models import architecture
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.forecast import Difficulty, best_tokens
from groundup.pretraining.rehearsal import Rehearsal
from groundup.training.precision import Choice, compile_decision

EVALUATION_SHARE = 0.03  # of the time, for the evaluations before the last
FEWEST_EVALUATION_TOKENS = 8192
LEAST_TRAINING_SHARE = 0.5  # of the time, however long the last evaluation
# Compiling takes longer than planning a short run may: its gain is assumed there, from the 1.23 to 1.38 times of a whole
# step in benchmarks/RESULTS.md, and measured where those seconds are at most `PLANNING_SHARE` of the run.
COMPILED_GAIN, COMPILING_SECONDS = 1.25, 30.0


def tokens_per_step(n_tokens: float) -> float:
    """Tokens in a step of a run over `n_tokens`: 2 sqrt(n_tokens).

    The batch beyond which more tokens a step no longer save steps grows about with the square root of the run's tokens, hardly
    with the model (Zhang et al. 2024, "How Does Critical Batch Size Scale in Pre-training?": D to the 0.47); the factor
    gives the batches that our short runs liked best (about 800 tokens a step for 200,000 tokens).
    """
    return 2 * math.sqrt(n_tokens)


@dataclass(frozen=True)
class Budget:
    """How long to train: exactly one of these."""

    seconds: float | None = None
    tokens: int | None = None
    steps: int | None = None

    @classmethod
    def of(cls, config: PretrainConfig, epoch_tokens: float, default_seconds: float) -> Budget:
        """The budget that the settings name, in `default_seconds` when they name none."""
        if config.steps is not None:
            return cls(steps=config.steps)
        if config.tokens is not None:
            return cls(tokens=config.tokens)
        if config.epochs is not None:
            return cls(tokens=max(1, round(config.epochs * epoch_tokens)))
        return cls(seconds=config.time or default_seconds)


@dataclass(frozen=True)
class Course:
    """What a model would do with the budget."""

    batch_size: int
    steps: int
    tokens: int
    tokens_per_second: float  # while it trains
    training_seconds: float  # on the loop's clock
    last_look_seconds: float  # after it
    evaluation_tokens: int
    compiling: Choice[bool]


@dataclass(frozen=True)
class Pacing:
    """The rules of a run's course, for every model the same. Raises `GroundupError` when the batch cannot be shared."""

    config: PretrainConfig
    budget: Budget
    world_size: int  # processes that share a batch
    context_length: int
    n_windows: int  # of the training text
    n_validation_tokens: int
    difficulty: Difficulty
    device: str
    measured_gain: float | None = None  # of compiling: times as fast, forward and backward

    def __post_init__(self) -> None:
        batch_size = self.config.batch_size
        if batch_size is not None and batch_size % self._equal:
            raise GroundupError(
                f"batch_size {batch_size} cannot be cut into {self.world_size} equal shares of whole micro-batches of "
                f"{self.config.micro_batch_size or 1}; give a multiple of {self._equal}, or leave batch_size out"
            )

    def course(self, cost: Rehearsal, matrix_parameters: int) -> Course:
        """The course of a model that costs so much; whether it is compiled is decided here and nowhere else."""
        plain = self._course(cost, matrix_parameters, self._compiling(0.0, "off"))
        seconds = min(plain.training_seconds + plain.last_look_seconds, self.budget.seconds or math.inf)
        compiling = self._compiling(seconds, self.config.compile)
        return self._course(cost, matrix_parameters, compiling)

    def batch_size(self, n_tokens: float) -> int:
        """Windows in a step of a run over so many tokens: equal shares for all, and no more than the text has."""
        if self.config.batch_size is not None:
            return self.config.batch_size
        suits = round(tokens_per_step(n_tokens) / self.context_length / self._equal)
        return self._equal * max(1, min(suits, self.n_windows // self._equal))

    @property
    def _equal(self) -> int:
        """What a batch must be a multiple of."""
        return self.world_size * (self.config.micro_batch_size or 1)

    def _course(self, cost: Rehearsal, matrix_parameters: int, compiling: Choice[bool]) -> Course:
        n_tokens = self._tokens(cost, matrix_parameters, compiling.value)
        batch_size = self.batch_size(n_tokens)
        steps = self.budget.steps or max(1, round(n_tokens / (batch_size * self.context_length)))
        step_seconds = self._step_seconds(cost, batch_size, compiling.value)
        seconds = steps * step_seconds + (COMPILING_SECONDS if compiling.value else 0.0)
        total_seconds = seconds + self._pause_seconds(cost, seconds)
        if self.budget.seconds is not None and total_seconds > 0.9 * self._allowed_seconds(cost):
            total_seconds = self._allowed_seconds(cost)  # the clock ends it; else the text is worn out first
        return Course(
            batch_size=batch_size,
            steps=steps,
            tokens=steps * batch_size * self.context_length,
            tokens_per_second=batch_size * self.context_length / step_seconds,
            training_seconds=total_seconds,
            last_look_seconds=self._last_look_seconds(cost),
            evaluation_tokens=self._evaluation_tokens(cost, total_seconds),
            compiling=compiling,
        )

    def _tokens(self, cost: Rehearsal, matrix_parameters: int, compiled: bool) -> float:
        """Tokens the budget allows; fewer when the text would be read so often that it harms."""
        if self.budget.tokens is not None:
            return self.budget.tokens
        if self.budget.steps is not None:
            # tokens = steps x tokens_per_step(tokens) has the solution tokens = (2 x steps)^2
            batch_size = self.batch_size(tokens_per_step(1.0) ** 2 * self.budget.steps**2)
            return self.budget.steps * batch_size * self.context_length
        allowed = self._allowed_seconds(cost)
        seconds = max(0.0, allowed - self._pause_seconds(cost, allowed) - (COMPILING_SECONDS if compiled else 0.0))
        n_tokens = seconds / cost.row_seconds * self.context_length  # then the updates, which depend on the batch
        for _ in range(3):
            batch_size = self.batch_size(n_tokens)
            steps = max(1.0, seconds / self._step_seconds(cost, batch_size, compiled))
            n_tokens = steps * batch_size * self.context_length
        return best_tokens(self.difficulty, matrix_parameters, n_tokens)

    def _step_seconds(self, cost: Rehearsal, batch_size: int, compiled: bool) -> float:
        """Each process computes its share, assumed to be as fast as one alone; all make the same update."""
        return cost.step_seconds(
            batch_size // self.world_size, (self.measured_gain or COMPILED_GAIN) if compiled else 1.0
        )

    def _allowed_seconds(self, cost: Rehearsal) -> float:
        """The time given, less that of the last look."""
        assert self.budget.seconds is not None
        return max(self.budget.seconds - self._last_look_seconds(cost), self.budget.seconds * LEAST_TRAINING_SHARE)

    def _pause_seconds(self, cost: Rehearsal, seconds: float) -> float:
        """What evaluations, samples and saves between steps take of a training of so many seconds."""
        windows = self._evaluation_tokens(cost, seconds) / self.context_length
        looks = (self.config.evaluations - 1) * cost.look_seconds(windows, self.config.sample_tokens)
        return looks + seconds // self.config.save_every * cost.save_seconds()

    def _last_look_seconds(self, cost: Rehearsal) -> float:
        """What follows the last step: all of the validation text, a sample, the model folder, the training state."""
        windows = self.n_validation_tokens / self.context_length
        return cost.look_seconds(windows, self.config.sample_tokens) + cost.save_seconds()

    def _evaluation_tokens(self, cost: Rehearsal, seconds: float) -> int:
        """Validation tokens of each evaluation but the last, so that they take `EVALUATION_SHARE` of the time."""
        if self.config.evaluation_tokens is not None:
            return self.config.evaluation_tokens
        looks = max(1, self.config.evaluations - 1)
        affordable = EVALUATION_SHARE * seconds / looks / cost.forward_row_seconds * self.context_length
        return round(min(max(affordable, FEWEST_EVALUATION_TOKENS), max(1, self.n_validation_tokens)))

    def _compiling(self, seconds: float, asked: str) -> Choice[bool]:
        """Whether a training stage of so many seconds is compiled; raises GroundupError for what cannot be."""
        name = self.config.architecture
        if not architecture(name).Model.compiles:
            if asked == "on":
                raise GroundupError(
                    f"compile on: {name} is not compiled, its kernels are whole operations already; leave compile out"
                )
            return Choice(False, f"not compiled: the kernels of {name} are whole operations already")
        if asked == "auto":
            choice = compile_decision(round(seconds), self.device)
            if not choice.value or self.measured_gain is None:
                return choice
            if self.measured_gain > 1:
                return Choice(True, f"compiled: a pass is {self.measured_gain:.2f} times as fast here")
            return Choice(False, f"not compiled: a pass would be {self.measured_gain:.2f} times as fast here")
        return Choice(asked == "on", "compiled: asked for" if asked == "on" else "not compiled: asked for")
