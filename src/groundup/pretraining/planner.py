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
from dataclasses import dataclass, replace

import psutil

from groundup.core.device import free_memory_bytes, pick_device
from groundup.core.errors import GroundupError
from groundup.core.files import readable_bytes
from groundup.core.progress import QUIET, Reporter
from groundup.data.store import TokenStore
from groundup.data.windows import Windows
from groundup.models import ModelConfig, config_for_size
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.forecast import best_tokens, forecast_loss, measure_difficulty
from groundup.pretraining.plan import Candidate, Plan, readable_count, readable_seconds
from groundup.pretraining.recipe import recipe_values
from groundup.pretraining.rehearsal import Rehearsal, rehearse
from groundup.training.optimizers import OptimizerSettings
from groundup.training.precision import compile_decision

DEPTHS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
DEFAULT_SECONDS = 300.0
PLANNING_SHARE, LONGEST_PLANNING_SECONDS = 0.04, 12.0  # of the time to train; for all rehearsals together
EVALUATION_SHARE = 0.03  # of the time, for the evaluations before the last
FEWEST_EVALUATION_TOKENS = 8192
MEMORY_SHARE = 0.8  # of what is free: other programs live too
MOST_MICRO_BATCH_TOKENS = 16_384  # larger products are hardly faster, and cost memory
FEWEST_STEPS = 50  # a model that takes fewer has learned next to nothing, and the law knows no such run
AS_GOOD = 0.005  # a smaller model this close to the lowest loss is taken: it is faster ever after
DISK_BYTES_PER_SECOND = 2e8  # an ordinary disk; decides little
# Rehearsals are not compiled: compiling takes longer than planning may. What it gains is assumed, from the 1.1 to 1.5
# measured on the peers, so a forecast for a compiled run is that much less exact.
COMPILED_GAIN, COMPILING_SECONDS = 1.25, 30.0
START_SECONDS = 2.0  # opening the data, building the model, the card and the report


def plan(store: TokenStore, config: PretrainConfig | None = None, *, reporter: Reporter = QUIET) -> Plan:
    """Choose what to train on a prepared text, by rehearsing on this machine.

    The budget is that of `config` (`DEFAULT_SECONDS` when it has none); settings that are given are kept. Raises
    `GroundupError` when the text is shorter than a window and when no candidate fits into the free memory.
    """
    began = time.perf_counter()
    planner = _Planner(store, config or PretrainConfig(), reporter)
    depth, candidates, reason = planner.choose()
    return planner.finish(depth, candidates, reason, began)


def tokens_per_step(n_tokens: float) -> float:
    """Tokens in a step of a run over `n_tokens`: 2 sqrt(n_tokens).

    The batch beyond which more tokens a step no longer save steps grows about with the square root of the run's tokens, hardly
    with the model (Zhang et al. 2024, "How Does Critical Batch Size Scale in Pre-training?": D to the 0.47); the factor
    gives the batches that our short runs liked best (about 800 tokens a step for 200,000 tokens).
    """
    return 2 * math.sqrt(n_tokens)


def default_context_length(n_train_tokens: int) -> int:
    """Tokens the model sees at once, by the size of the text: little text has little to say about what is far."""
    suits = 256 if n_train_tokens < 2e7 else 512 if n_train_tokens < 2e8 else 1024
    return max(1, min(suits, n_train_tokens - 1))


@dataclass(frozen=True)
class _Budget:
    """How long to train: exactly one of these."""

    seconds: float | None = None
    tokens: int | None = None
    steps: int | None = None


class _Planner:
    """What `plan` knows while it chooses: the text, the budget, the rehearsals so far."""

    def __init__(self, store: TokenStore, config: PretrainConfig, reporter: Reporter) -> None:
        self.config, self.reporter = config, reporter
        self.vocab_size = store.vocab_size
        self.training, self.validation = store.split("train"), store.split("validation")
        self.context_length = config.context_length or default_context_length(self.training.n_tokens)
        self.windows = Windows(self.training, self.context_length, config.stride, document_mask=config.document_mask)
        self.device = pick_device(config.device)
        self.base_bytes = 0 if self.device.startswith("cuda") else psutil.Process().memory_info().rss
        self.usable_bytes = round(free_memory_bytes(self.device) * MEMORY_SHARE) + self.base_bytes
        self.budget = self._budget()
        self.rates = recipe_values(config) | {
            name: value for name in recipe_values(PretrainConfig()) if (value := getattr(config, name)) is not None
        }
        self.difficulty = measure_difficulty(self.training, self.validation, self.vocab_size)
        self.rehearsals: dict[int, Rehearsal] = {}

    def _budget(self) -> _Budget:
        config = self.config
        if config.steps is not None:
            return _Budget(steps=config.steps)
        if config.tokens is not None:
            return _Budget(tokens=config.tokens)
        if config.epochs is not None:
            return _Budget(tokens=max(1, round(config.epochs * self.training.n_tokens)))
        return _Budget(seconds=config.time or DEFAULT_SECONDS)

    # --- choosing

    def choose(self) -> tuple[int, dict[int, Candidate], str]:
        """The depth to take, the candidates to show, the reason."""
        depths = self._depths()
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
                due = [
                    depth for depth in (best, *depths[max(0, place - 1) : place + 2]) if depth not in self.rehearsals
                ]
        last = max(depths.index(max(self.rehearsals)), depths.index(best) + 2)
        return best, {depth: candidates[depth] for depth in depths[: last + 1]}, self._reason(best, candidates)

    def _depths(self) -> list[int]:
        """The sizes in question; one when the settings name it."""
        if self.config.n_layers is not None:
            return [self.config.n_layers]
        if self.config.size is not None:
            return [config_for_size(self.config.size, self.vocab_size, 1).n_layers]
        return list(DEPTHS)

    def _best(self, candidates: dict[int, Candidate]) -> int:
        """The depth to take: for a time, the lowest loss; for a number of tokens, the best use of their arithmetic."""
        fitting = {depth: candidate for depth, candidate in candidates.items() if candidate.fits}
        if self.budget.seconds is not None:  # a model too slow for the time is none, unless all are
            quick = {depth: candidate for depth, candidate in fitting.items() if candidate.steps >= FEWEST_STEPS}
            fitting = quick or {depth: fitting[depth] for depth in sorted(fitting)[:1]}
        if not fitting:
            least = min(candidates.values(), key=lambda candidate: candidate.memory_bytes)
            raise GroundupError(
                f"not enough memory: the smallest candidate, {least.size}, needs {readable_bytes(least.memory_bytes)} and "
                f"{readable_bytes(self.usable_bytes)} can be used; give a smaller --size, --context-length or "
                "--micro-batch-size, or close other programs"
            )
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
        if self.budget.seconds is not None and chosen.training_seconds < 0.9 * self.budget.seconds:
            reason += (
                f"; more than {chosen.epochs:.0f} readings of this text would harm, so it ends after "
                f"{readable_seconds(chosen.training_seconds)}"
            )
        return reason

    # --- rehearsing

    def _rehearse(self, depth: int, seconds_left: float) -> None:
        """Time a depth on batches of the size it would have, or of as few windows as the time allows."""
        row_seconds = self._cost(depth).row_seconds if self.rehearsals else 0.0
        seconds = max(0.3, seconds_left / 4)
        affordable = int(seconds / (8 * row_seconds)) if row_seconds else MOST_MICRO_BATCH_TOKENS
        batch_size = self._candidate(depth).batch_size if self.rehearsals else self._batch_size(1e6)
        most = min(batch_size, MOST_MICRO_BATCH_TOKENS // self.context_length, affordable)
        settings = OptimizerSettings(
            self.rates["learning_rate"],
            self.rates["embedding_learning_rate"],
            self.rates["head_learning_rate"],
            self.rates["vector_learning_rate"],
            matrices=self.config.optimizer,
        )
        self.rehearsals[depth] = rehearse(
            self._model(depth),
            self.windows,
            settings,
            n_rows=max(1, most),
            seconds=seconds,
            device=self.device,
            precision=self.config.precision,
        )

    def _cost(self, depth: int) -> Rehearsal:
        """The rehearsal of a depth, or an estimate from the nearest one: seconds by arithmetic, bytes by sizes."""
        if depth in self.rehearsals:
            return self.rehearsals[depth]
        nearest = min(self.rehearsals, key=lambda other: abs(math.log(other / depth)))
        known, model, other = self.rehearsals[nearest], self._model(depth), self._model(nearest)
        arithmetic = model.flops_per_token() / other.flops_per_token()
        update = model.matrix_parameters() * model.d_model / (other.matrix_parameters() * other.d_model)
        activations = model.n_layers * model.d_model / (other.n_layers * other.d_model)
        return replace(
            known,
            row_seconds=known.row_seconds * arithmetic,
            forward_row_seconds=known.forward_row_seconds * arithmetic,
            update_seconds=known.update_seconds * update,
            new_token_seconds=known.new_token_seconds * model.n_parameters() / other.n_parameters(),
            saved_row_bytes=round(known.saved_row_bytes * activations),
            optimizer_bytes=round(known.optimizer_bytes * model.n_parameters() / other.n_parameters()),
            weight_bytes=round(known.weight_bytes * model.n_parameters() / other.n_parameters()),
        )

    # --- one candidate

    def _model(self, depth: int) -> ModelConfig:
        """The model of a depth, with the sizes the settings give."""
        config = self.config
        given = {
            name: value
            for name in ("d_model", "n_heads", "n_kv_heads", "d_ff", "tie_embeddings", "dropout")
            if (value := getattr(config, name)) is not None
        }
        return config_for_size(depth, self.vocab_size, self.context_length, config.architecture, **given)

    def _batch_size(self, n_tokens: float) -> int:
        """Windows in a step of a run over so many tokens; never more than the text has."""
        if self.config.batch_size is not None:
            return self.config.batch_size
        return max(1, min(round(tokens_per_step(n_tokens) / self.context_length), len(self.windows)))

    def _micro_batch_size(self, cost: Rehearsal, batch_size: int) -> int:
        """The largest share of a batch that is computed at once: it divides the batch and fits into the memory."""
        if self.config.micro_batch_size is not None:
            return self.config.micro_batch_size
        shares = [batch_size // n for n in range(1, batch_size + 1) if batch_size % n == 0]
        for share in shares:
            small = share * self.context_length <= MOST_MICRO_BATCH_TOKENS
            if small and self._memory_bytes(cost, share) <= self.usable_bytes:
                return share
        return 1

    def _memory_bytes(self, cost: Rehearsal, micro_batch_size: int) -> int:
        return self.base_bytes + cost.memory_bytes(micro_batch_size, self.context_length, self.vocab_size)

    def _evaluation_tokens(self, cost: Rehearsal, seconds: float) -> int:
        """Validation tokens of each evaluation but the last, so that they take `EVALUATION_SHARE` of the time."""
        if self.config.evaluation_tokens is not None:
            return self.config.evaluation_tokens
        looks = max(1, self.config.evaluations - 1)
        affordable = EVALUATION_SHARE * seconds / looks / cost.forward_row_seconds * self.context_length
        return round(min(max(affordable, FEWEST_EVALUATION_TOKENS), max(1, self.validation.n_tokens)))

    def _pause_seconds(self, cost: Rehearsal, seconds: float) -> float:
        """What evaluations, samples and saves take of a run of so many seconds; all are on the training clock."""
        config, looks = self.config, self.config.evaluations
        known = min(self.validation.n_tokens, self._evaluation_tokens(cost, seconds))
        rows = ((looks - 1) * known + self.validation.n_tokens) / self.context_length
        samples = looks * config.sample_tokens * cost.new_token_seconds
        written = looks * cost.weight_bytes + (1 + seconds // config.save_every) * (
            cost.weight_bytes + cost.optimizer_bytes
        )
        return rows * cost.forward_row_seconds + samples + written / DISK_BYTES_PER_SECOND

    def _gain(self, seconds: float) -> float:
        """How much faster than rehearsed the steps of a training of so many seconds are: by compiling, or not at all."""
        asked = self.config.compile
        compiled = asked == "on" or (asked == "auto" and compile_decision(seconds, self.device).value)
        return COMPILED_GAIN if compiled else 1.0

    def _tokens(self, depth: int, cost: Rehearsal) -> float:
        """Tokens the budget allows; fewer when the text would be read so often that it harms."""
        if self.budget.tokens is not None:
            return self.budget.tokens
        if self.budget.steps is not None:
            # tokens = steps x tokens_per_step(tokens) has the solution tokens = (2 x steps)^2
            batch_size = self._batch_size(tokens_per_step(1.0) ** 2 * self.budget.steps**2)
            return self.budget.steps * batch_size * self.context_length
        assert self.budget.seconds is not None
        seconds = max(0.0, self.budget.seconds - self._pause_seconds(cost, self.budget.seconds))
        gain = self._gain(self.budget.seconds)
        n_tokens = seconds / cost.row_seconds * self.context_length  # then the updates, which depend on the batch
        for _ in range(3):
            batch_size = self._batch_size(n_tokens)
            n_tokens = max(1.0, seconds / cost.step_seconds(batch_size, gain)) * batch_size * self.context_length
        return best_tokens(self.difficulty, self._model(depth).matrix_parameters(), n_tokens)

    def _candidate(self, depth: int) -> Candidate:
        """What would come of a depth."""
        cost, model = self._cost(depth), self._model(depth)
        n_tokens = self._tokens(depth, cost)
        batch_size = self._batch_size(n_tokens)
        steps = self.budget.steps or max(1, round(n_tokens / (batch_size * self.context_length)))
        n_tokens = steps * batch_size * self.context_length
        gain = self._gain(self.budget.seconds or steps * cost.step_seconds(batch_size))
        seconds = steps * cost.step_seconds(batch_size, gain)
        total_seconds = seconds + self._pause_seconds(cost, self.budget.seconds or seconds)
        if self.budget.seconds is not None and total_seconds > 0.9 * self.budget.seconds:
            total_seconds = self.budget.seconds  # the clock ends it; else the text is worn out first
        memory = self._memory_bytes(cost, self._micro_batch_size(cost, batch_size))
        loss = forecast_loss(self.difficulty, model.matrix_parameters(), n_tokens)
        return Candidate(
            size=f"d{depth}",
            n_parameters=model.n_parameters(),
            rehearsed=depth in self.rehearsals,
            tokens_per_second=n_tokens / seconds,
            batch_size=batch_size,
            steps=steps,
            tokens=n_tokens,
            epochs=n_tokens / self.training.n_tokens,
            training_seconds=total_seconds,
            memory_bytes=memory,
            # the model folder, and three training states while the third is being written
            disk_bytes=4 * cost.weight_bytes + 3 * cost.optimizer_bytes,
            loss=loss,
            bits_per_byte=loss / math.log(2) * self.validation.n_tokens / max(1, self.validation.n_bytes),
            fits=memory <= self.usable_bytes,
        )

    def finish(self, depth: int, candidates: dict[int, Candidate], reason: str, began: float) -> Plan:
        """The plan of a depth."""
        chosen, cost, model = candidates[depth], self._cost(depth), self._model(depth)
        gain = self._gain(self.budget.seconds or chosen.training_seconds)
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
            evaluation_tokens=self._evaluation_tokens(cost, chosen.training_seconds),
            device=self.device,
            training_seconds=chosen.training_seconds,
            wall_seconds=chosen.training_seconds + START_SECONDS + (COMPILING_SECONDS if gain > 1 else 0.0),
            planning_seconds=time.perf_counter() - began,
            tokens_per_second=chosen.tokens_per_second,
            memory_bytes=chosen.memory_bytes,
            disk_bytes=chosen.disk_bytes,
            loss=chosen.loss,
            bits_per_byte=chosen.bits_per_byte,
            train_tokens=self.training.n_tokens,
            difficulty=self.difficulty,
            candidates=tuple(candidates.values()),
            reason=reason,
        )
