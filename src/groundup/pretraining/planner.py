"""The planner: chooses what to train, for the time, the text and this machine, and says what will come of it.

Nothing is looked up: candidate sizes are rehearsed on this machine (rehearsal.py), their loss is foretold from the text
(forecast.py), and the one with the lowest foretold loss is taken. Sizes are rehearsed only where the decision lies: first
the smallest, then whichever looks best, until the best and both its neighbours have been timed or the time for planning is
up; the others are estimated from their arithmetic and marked so.

Everything a setting says is kept; the plan fills in what is left.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import psutil

from groundup.core.device import free_memory_bytes, peak_memory_bytes, pick_device
from groundup.core.errors import GroundupError
from groundup.core.files import readable_bytes
from groundup.core.progress import QUIET, Reporter
from groundup.data.interleave import rows_per_epoch
from groundup.data.mixture import Mixture
from groundup.data.store import TokenStore
from groundup.models import ModelConfig, config_for_size
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.course import COMPILING_SECONDS, Budget, Pacing
from groundup.pretraining.forecast import forecast_loss, measure_difficulty
from groundup.pretraining.plan import Candidate, Plan, readable_count, readable_seconds
from groundup.pretraining.recipe import recipe_values
from groundup.pretraining.rehearsal import CPU_ACTIVATIONS, Rehearsal, compiled_gain, least_bytes, rehearse
from groundup.pretraining.shape import shape_settings
from groundup.training.memory import give_back_freed_memory
from groundup.training.optimizers import OptimizerSettings

DEPTHS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
DEFAULT_SECONDS = 300.0
PLANNING_SHARE, LONGEST_PLANNING_SECONDS = 0.04, 12.0  # of the time to train; for all rehearsals together
MEMORY_SHARE = 0.8  # of what is free: other programs live too
MOST_MICRO_BATCH_TOKENS = 16_384  # larger products are hardly faster, and cost memory
FEWEST_STEPS = 50  # a model that takes fewer has learned next to nothing, and the law knows no such run
AS_GOOD = 0.005  # a smaller model this close to the lowest loss is taken: it is faster ever after
START_SECONDS = 2.0  # opening the data, building the model, the card and the report


def plan(
    text: TokenStore | Mixture,
    config: PretrainConfig | None = None,
    *,
    world_size: int = 1,
    reporter: Reporter = QUIET,
) -> Plan:
    """Choose what to train on a prepared text or a mixture, by rehearsing on this machine.

    The budget is that of `config` (`DEFAULT_SECONDS` when it has none); settings that are given are kept. `world_size`
    processes share every batch; one is rehearsed, and each is taken to be as fast. Raises `GroundupError` when the text is
    shorter than a window, when the batch cannot be shared, when no candidate fits into the free memory, and when compiling
    that was asked for takes all the time.
    """
    began = time.perf_counter()
    mixture = text if isinstance(text, Mixture) else Mixture.of(text)
    planner = _Planner(mixture, config or PretrainConfig(), world_size, reporter)
    depth, candidates, reason = planner.choose()
    return planner.finish(depth, candidates, reason, began)


def default_context_length(n_train_tokens: int) -> int:
    """Tokens the model sees at once, by the size of the text: little text has little to say about what is far."""
    suits = 256 if n_train_tokens < 2e7 else 512 if n_train_tokens < 2e8 else 1024
    return max(1, min(suits, n_train_tokens - 1))


class _Planner:
    """What `plan` knows while it chooses: the text, the budget, the rehearsals so far."""

    def __init__(self, mixture: Mixture, config: PretrainConfig, world_size: int, reporter: Reporter) -> None:
        self.config, self.world_size, self.reporter = config, world_size, reporter
        self.vocab_size, self.parts = mixture.store.vocab_size, mixture.parts
        self.n_train_tokens, self.n_validation_tokens = mixture.n_tokens("train"), mixture.n_tokens("validation")
        shortest = min(split.n_tokens for split in mixture.splits("train"))
        suits = min(default_context_length(self.n_train_tokens), shortest - 1)
        self.context_length = config.context_length or max(1, suits)
        self.rows = mixture.rows(self.context_length, packing=config.packing, stride=config.stride)
        self.rows_per_epoch = rows_per_epoch([len(rows) for rows in self.rows], self.parts)
        bytes_per_token = sum(share * split.n_bytes / split.n_tokens for _, split, share in mixture.validation_shares())
        self.bits_per_nat_a_token = 1 / (math.log(2) * bytes_per_token) if bytes_per_token else 0.0
        self.device = pick_device(config.device)
        on_gpu = self.device.startswith("cuda")  # each process has its own; on CPUs they share the memory
        self.base_bytes = 0 if on_gpu else psutil.Process().memory_info().rss
        free_bytes = free_memory_bytes(self.device) // (1 if on_gpu else world_size)
        self.usable_bytes = round(free_bytes * MEMORY_SHARE) + self.base_bytes
        self.budget = Budget.of(config, self._epoch_tokens, DEFAULT_SECONDS)
        self.rates = recipe_values(config) | {
            name: value for name in recipe_values(PretrainConfig()) if (value := getattr(config, name)) is not None
        }
        self.difficulty = measure_difficulty(
            list(zip(mixture.splits("train"), mixture.splits("validation"), mixture.shares, strict=True)),
            self.vocab_size,
        )
        self.pacing = Pacing(
            config=config,
            budget=self.budget,
            world_size=world_size,
            context_length=self.context_length,
            n_windows=round(self.rows_per_epoch),
            n_validation_tokens=self.n_validation_tokens,
            difficulty=self.difficulty,
            device=self.device,
        )
        self.rehearsals: dict[int, Rehearsal] = {}

    @property
    def _epoch_tokens(self) -> float:
        """Positions of an epoch: of all rows, or of those after which a mixture's average row has been read once."""
        return self.rows_per_epoch * self.context_length

    # --- choosing

    def choose(self) -> tuple[int, dict[int, Candidate], str]:
        """The depth to take, the candidates to show, the reason."""
        depths = self._depths_that_fit()
        seconds = min(LONGEST_PLANNING_SECONDS, PLANNING_SHARE * (self.budget.seconds or DEFAULT_SECONDS))
        deadline = time.perf_counter() + seconds
        candidates, best, due = {}, depths[0], [depths[0]]
        with self.reporter.bar("timing this machine", seconds, "s") as bar:
            while due:
                self._rehearse(due[0], deadline - time.perf_counter())
                left = deadline - time.perf_counter()
                bar.set(min(seconds, seconds - left), info=f"d{due[0]}")
                candidates = {depth: self._candidate(depth) for depth in depths}
                if left <= 0:
                    best = self._best({depth: candidates[depth] for depth in self.rehearsals})
                    break
                best = self._best(candidates)
                place = depths.index(best)
                around = (best, *depths[max(0, place - 1) : place + 2])
                due = [depth for depth in around if depth not in self.rehearsals and candidates[depth].fits]
            if self._rehearse_as_planned(best, candidates[best]):
                candidates = {depth: self._candidate(depth) for depth in depths}
        if self._rehearse_compiled(best, candidates[best]):
            candidates = {depth: self._candidate(depth) for depth in depths}
        last = max(depths.index(max(self.rehearsals)), depths.index(best) + 2)
        return best, {depth: candidates[depth] for depth in depths[: last + 1]}, self._reason(best, candidates)

    def _depths(self) -> list[int]:
        """The sizes in question; one when the settings name it."""
        if self.config.n_layers is not None:
            return [self.config.n_layers]
        if self.config.size is not None:
            return [config_for_size(self.config.size, self.vocab_size, 1).n_layers]
        return list(DEPTHS)

    def _depths_that_fit(self) -> list[int]:
        """The sizes in question, without those too large to be built here at all."""
        least = {depth: self.base_bytes + least_bytes(self._model(depth)) for depth in self._depths()}
        fitting = [depth for depth, n_bytes in least.items() if n_bytes <= self.usable_bytes]
        if not fitting:
            smallest = min(least, key=lambda depth: least[depth])
            raise self._too_little_memory(f"d{smallest}", f"at least {readable_bytes(least[smallest])}")
        return fitting

    def _too_little_memory(self, size: str, needed: str) -> GroundupError:
        return GroundupError(
            f"not enough memory: the smallest candidate, {size}, needs {needed} and {readable_bytes(self.usable_bytes)} can be "
            "used; give a smaller --size, --context-length or --micro-batch-size, or close other programs"
        )

    def _best(self, candidates: dict[int, Candidate]) -> int:
        """The depth to take: for a time, the lowest loss; for a number of tokens, the best use of their arithmetic."""
        fitting = {depth: candidate for depth, candidate in candidates.items() if candidate.fits}
        if self.budget.seconds is not None:  # a model too slow for the time is none, unless all are
            quick = {depth: candidate for depth, candidate in fitting.items() if candidate.steps >= FEWEST_STEPS}
            fitting = quick or {depth: fitting[depth] for depth in sorted(fitting)[:1]}
        if not fitting:
            least = min(candidates.values(), key=lambda candidate: candidate.memory_bytes)
            raise self._too_little_memory(least.size, readable_bytes(least.memory_bytes))
        if self.budget.seconds is not None:
            lowest = min(candidate.loss for candidate in fitting.values())
            return min(depth for depth, candidate in fitting.items() if candidate.loss <= lowest * (1 + AS_GOOD))
        return min(fitting, key=lambda depth: self._regret(depth, fitting))

    def _regret(self, depth: int, candidates: dict[int, Candidate]) -> float:
        """How much lower a loss another size would reach with the arithmetic this one spends on its tokens."""
        arithmetic = candidates[depth].tokens * self._model(depth).flops_per_token()
        others = [self._model(other) for other in candidates]
        return candidates[depth].loss - min(
            forecast_loss(self.difficulty, model.matrix_parameters(), arithmetic / model.flops_per_token())
            for model in others
        )

    def _reason(self, best: int, candidates: dict[int, Candidate]) -> str:
        chosen, depths = candidates[best], sorted(candidates)
        place = depths.index(best)
        if len(depths) == 1:
            reason = f"{chosen.size} was asked for"
        elif self.budget.seconds is None:
            reason = (
                f"{chosen.size} makes the best use of the arithmetic that {readable_count(chosen.tokens)} tokens cost"
            )
        else:
            others = [
                candidates[depth] for depth in (*depths[max(0, place - 1) : place], *depths[place + 1 : place + 2])
            ]
            reason = (
                f"{chosen.size} is the smallest within {AS_GOOD:.1%} of the lowest loss expected in "
                f"{readable_seconds(self.budget.seconds)}: {chosen.loss:.3f}, against "
                + " and ".join(f"{other.loss:.3f} of {other.size}" for other in others)
            )
        if self.budget.seconds is not None and chosen.seconds < 0.9 * self.budget.seconds:
            reason += (
                f"; more than {chosen.epochs:.0f} readings of this text would harm, so it ends after "
                f"{readable_seconds(chosen.seconds)}"
            )
        if self.budget.seconds is not None and chosen.seconds > 1.01 * self.budget.seconds:
            reason += (
                f"; the last evaluation reads all {readable_count(self.n_validation_tokens)} validation tokens, in about "
                f"{readable_seconds(chosen.last_look_seconds)}, so it ends after {readable_seconds(chosen.seconds)}"
            )
        if self.world_size > 1:
            reason += f"; {self.world_size} processes are assumed to train {self.world_size} times as fast as one"
        return reason

    # --- rehearsing

    def _rehearse(self, depth: int, seconds_left: float) -> None:
        """Time a depth on batches as it would compute at once, or of as few windows as the time and the memory allow."""
        seconds = max(0.3, seconds_left / 4)
        if self.rehearsals:
            cost = self._cost(depth)
            affordable = int(seconds / (8 * cost.row_seconds))
            most = self._micro_batch_size(cost, self._candidate(depth).batch_size)
        else:
            model = self._model(depth)
            free_bytes = self.usable_bytes - self.base_bytes - least_bytes(model)
            affordable = int(free_bytes / CPU_ACTIVATIONS["bf16"] / (least_bytes(model, 1) - least_bytes(model)))
            most = self.config.micro_batch_size or self.pacing.batch_size(1e6) // self.world_size
        self.rehearsals[depth] = rehearse(
            self._model(depth),
            self.rows,
            self._optimizer_settings(),
            parts=self.parts,
            n_rows=max(1, min(most, affordable, MOST_MICRO_BATCH_TOKENS // self.context_length)),
            seconds=seconds,
            device=self.device,
            precision=self.config.precision,
        )
        give_back_freed_memory()  # the next size, and the run, would have little use for blocks of this one's

    def _rehearse_as_planned(self, depth: int, chosen: Candidate) -> bool:
        """Time the chosen size once more, computing as many windows at once as planned; False when it was timed so.

        Its time decides how many tokens the run will see, and a window's depends on how many there are. It takes about eight
        steps, so it is left out where eight steps are much of the run.
        """
        cost = self.rehearsals[depth]
        n_rows = self._micro_batch_size(cost, chosen.batch_size)
        seconds = chosen.training_seconds * PLANNING_SHARE / 2
        if n_rows == cost.n_rows or 8 * n_rows * cost.row_seconds > min(seconds, LONGEST_PLANNING_SECONDS / 2):
            return False
        again = rehearse(
            self._model(depth),
            self.rows,
            self._optimizer_settings(),
            parts=self.parts,
            n_rows=n_rows,
            seconds=1.0,
            device=self.device,
            precision=cost.dtype,
        )
        give_back_freed_memory()
        self.rehearsals[depth] = replace(again, dtype_reason=cost.dtype_reason)
        return True

    def _rehearse_compiled(self, depth: int, chosen: Candidate) -> bool:
        """Measure what compiling gains the chosen size; False where a run is not compiled, or so short that it stays assumed."""
        if not chosen.compile or PLANNING_SHARE * chosen.training_seconds < COMPILING_SECONDS:
            return False
        self.reporter.say(f"compiling {chosen.size} to time it; the run finds what was compiled again ...")
        cost = self.rehearsals[depth]
        n_rows = self._micro_batch_size(cost, chosen.batch_size)
        gain = compiled_gain(self._model(depth), self.rows, self.parts, n_rows, self.device, cost.dtype, self.reporter)
        give_back_freed_memory()
        self.pacing = replace(self.pacing, measured_gain=gain)
        return True

    def _optimizer_settings(self) -> OptimizerSettings:
        return OptimizerSettings(
            self.rates["learning_rate"],
            self.rates["embedding_learning_rate"],
            self.rates["head_learning_rate"],
            self.rates["vector_learning_rate"],
            matrices=self.config.optimizer,
        )

    def _cost(self, depth: int) -> Rehearsal:
        """The rehearsal of a depth, or an estimate from the nearest one."""
        if depth in self.rehearsals:
            return self.rehearsals[depth]
        nearest = min(self.rehearsals, key=lambda other: abs(math.log(other / depth)))
        return self.rehearsals[nearest].scaled(self._model(nearest), self._model(depth))

    # --- one candidate

    def _model(self, depth: int) -> ModelConfig:
        """The model of a depth, with the sizes the settings give."""
        given = shape_settings(self.config) | {"n_layers": None}
        return config_for_size(depth, self.vocab_size, self.context_length, self.config.architecture, **given)

    def _micro_batch_size(self, cost: Rehearsal, batch_size: int) -> int:
        """Windows computed at once: the largest part of a process's share that divides it and fits into the memory."""
        if self.config.micro_batch_size is not None:
            return self.config.micro_batch_size
        share = batch_size // self.world_size
        for part in (share // n for n in range(1, share + 1) if share % n == 0):
            small = part * self.context_length <= MOST_MICRO_BATCH_TOKENS
            if small and self._memory_bytes(cost, part, batch_size) <= self.usable_bytes:
                return part
        return 1

    def _memory_bytes(self, cost: Rehearsal, micro_batch_size: int, batch_size: int) -> int:
        accumulates = micro_batch_size * self.world_size < batch_size
        sizes = micro_batch_size, self.context_length, self.vocab_size
        return self.base_bytes + cost.memory_bytes(*sizes, accumulates)

    def _candidate(self, depth: int) -> Candidate:
        """What would come of a depth."""
        cost, model = self._cost(depth), self._model(depth)
        course = self.pacing.course(cost, model.matrix_parameters())
        memory = self._memory_bytes(cost, self._micro_batch_size(cost, course.batch_size), course.batch_size)
        loss = forecast_loss(self.difficulty, model.matrix_parameters(), course.tokens)
        return Candidate(
            size=f"d{depth}",
            n_parameters=model.n_parameters(),
            rehearsed=depth in self.rehearsals,
            tokens_per_second=course.tokens_per_second,
            batch_size=course.batch_size,
            steps=course.steps,
            tokens=course.tokens,
            epochs=course.tokens / self._epoch_tokens,
            training_seconds=course.training_seconds,
            last_look_seconds=course.last_look_seconds,
            compile=course.compiling.value,
            compile_reason=course.compiling.reason,
            evaluation_tokens=course.evaluation_tokens,
            memory_bytes=memory,
            # the model folder, and three training states while the third is being written
            disk_bytes=4 * cost.weight_bytes + 3 * cost.optimizer_bytes,
            loss=loss,
            bits_per_byte=loss * self.bits_per_nat_a_token,
            fits=memory <= self.usable_bytes,
        )

    def finish(self, depth: int, candidates: dict[int, Candidate], reason: str, began: float) -> Plan:
        """The plan of a depth."""
        cost, model = self._cost(depth), self._model(depth)
        # The run's process has prepared the text by now, and rehearsed larger models: it may have been higher already.
        memory = max(candidates[depth].memory_bytes, peak_memory_bytes(self.device))
        chosen = replace(candidates[depth], memory_bytes=memory)
        if chosen.compile and chosen.training_seconds <= COMPILING_SECONDS:
            raise GroundupError(
                f"compiling takes about {COMPILING_SECONDS:.0f} s, and there are {chosen.training_seconds:.0f} s to train; "
                "give more time, or leave compile out"
            )
        return Plan(
            size=chosen.size,
            n_layers=model.n_layers,
            d_model=model.d_model,
            n_parameters=chosen.n_parameters,
            matrix_parameters=model.matrix_parameters(),
            vocab_size=self.vocab_size,
            context_length=self.context_length,
            batch_size=chosen.batch_size,
            micro_batch_size=self._micro_batch_size(cost, chosen.batch_size),
            steps=chosen.steps,
            tokens=chosen.tokens,
            epochs=chosen.epochs,
            **(self.rates | recipe_values(self.config, model.d_model)),
            precision=cost.dtype,
            precision_reason=cost.dtype_reason,
            compile=chosen.compile,
            compile_reason=chosen.compile_reason,
            evaluation_tokens=chosen.evaluation_tokens,
            device=self.device,
            training_seconds=chosen.training_seconds,
            last_look_seconds=chosen.last_look_seconds,
            wall_seconds=START_SECONDS + chosen.seconds,
            planning_seconds=time.perf_counter() - began,
            tokens_per_second=chosen.tokens_per_second,
            memory_bytes=chosen.memory_bytes,
            disk_bytes=chosen.disk_bytes,
            loss=chosen.loss,
            bits_per_byte=chosen.bits_per_byte,
            train_tokens=self.n_train_tokens,
            difficulty=self.difficulty,
            candidates=tuple((candidates | {depth: chosen}).values()),
            reason=reason,
        )
