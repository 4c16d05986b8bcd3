"""Pretraining: from text to a model that writes, in stages that each leave something whole on disk.

A new run and a resumed one take the same path: look what the run folder holds (tokenizer, data, plan, training state), make the
next thing that is missing, and go on. So there is no second code for resuming, and a kill at any moment costs at most
the stage or the minute it struck.

    text -> token store -> plan (every setting resolved) -> training -> model folder, read back -> report
"""

from __future__ import annotations

import functools
import math
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from groundup.checkpoints.model_folder import verify_model
from groundup.core.device import measure_ceiling, pick_device
from groundup.core.errors import GroundupError
from groundup.core.files import read_json, write_json
from groundup.core.progress import QUIET, Reporter
from groundup.core.runs import RunFolder, undone_when_refused
from groundup.data.batches import TrainingBatches
from groundup.data.mixture import Mixture
from groundup.data.store import MANIFEST, TokenStore
from groundup.data.verification import ChangedSources, verify_sources
from groundup.inspect.run_report import write_report
from groundup.models import LanguageModel, build_model
from groundup.pretraining.checking import checked_config
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.planner import Plan
from groundup.pretraining.resolve import model_config, resolve
from groundup.pretraining.summary import model_card, summarize
from groundup.pretraining.text import text_stage
from groundup.pretraining.watching import Watcher
from groundup.tokenization.tokenizer import Tokenizer
from groundup.training.distributed import Ranks, join_ranks
from groundup.training.loop import Budget, Job, TrainingResult, train
from groundup.training.metrics import RunMetrics
from groundup.training.objectives import next_token_loss
from groundup.training.optimizers import Optimizer, OptimizerSettings
from groundup.training.precision import compiled
from groundup.training.schedules import warmup_stable_decay

LARGEST_DIFFERENCE = 1e-4  # of fp32 logits of the model folder read back; rounding explains no more
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class PretrainResult:
    """How a run ended: its folder, `finished` or `interrupted`, and the scores on the validation text, if it has any."""

    path: Path
    outcome: Literal["finished", "interrupted"]
    val_loss: float | None
    val_perplexity: float | None
    val_bits_per_byte: float | None
    max_logit_difference: float | None  # of the model folder read back

    @property
    def interrupted(self) -> bool:
        return self.outcome == "interrupted"


def pretrain(
    data: str | Path | Sequence[str | Path] | None = None,
    *,
    out: str | Path,
    config: PretrainConfig | None = None,
    reporter: Reporter = QUIET,
    **settings: Any,
) -> PretrainResult:
    """Train a model from scratch on `data` (a prepared folder, or text) into a new run folder `out`.

    `settings` are the fields of `PretrainConfig` and win over `config`; what is left out is derived. Raises `GroundupError`
    for settings and text that cannot be used (a refused run leaves nothing behind), and when the training diverges (the
    last good state is kept).
    """
    config = checked_config(data, config, settings)
    with join_ranks(pick_device(config.device)) as ranks:
        if not ranks.is_main:
            return _go_on(Path(out), ranks, reporter)
        before = set(Path(out).glob("*"))
        RunFolder.create(out, config, sys.argv).close()
        with undone_when_refused(Path(out), before):
            return _go_on(Path(out), ranks, reporter)


def resume(
    run: str | Path, *, changed_sources: ChangedSources | None = None, reporter: Reporter = QUIET
) -> PretrainResult:
    """Go on with a run that was stopped or killed, from whatever it had finished.

    `changed_sources` wins over the run's own setting, for when a source changed since the run began.

    With a budget in steps, tokens or epochs the weights become those of a run that was never stopped, to the bit (CPU, same number
    of threads). Raises `GroundupError` when the folder holds no run, or its data or tokenizer have changed.
    """
    config = PretrainConfig.read(RunFolder.open(run).config)
    with join_ranks(pick_device(config.device)) as ranks:
        return _go_on(Path(run), ranks, reporter, changed_sources)


def _go_on(
    path: Path, ranks: Ranks, reporter: Reporter, changed_sources: ChangedSources | None = None
) -> PretrainResult:
    if not ranks.is_main:
        return _follow(path, ranks)
    try:
        return _make_what_is_missing(path, ranks, reporter, changed_sources)
    except KeyboardInterrupt:
        reporter.say(f"stopped; go on with: groundup resume {shlex.quote(str(path))}")
        raise


def _make_what_is_missing(
    path: Path, ranks: Ranks, reporter: Reporter, changed_sources: ChangedSources | None
) -> PretrainResult:
    with RunFolder.open(path, writing=True) as run:
        began = time.perf_counter()
        config = PretrainConfig.read(run.config)
        _use_threads(config)
        mixture, tokenizer = text_stage(config, run.path, reporter)
        _check_unchanged(run, mixture, tokenizer)
        if (done := run.read_summary()).status == "finished":
            reporter.say(f"{path} is finished; nothing is left to do")
            ranks.from_main(0.0)
            return PretrainResult(
                path, "finished", done.val_loss, done.val_perplexity, done.val_bits_per_byte, max_logit_difference=None
            )
        stores = [source.store for source in mixture.sources]
        verify_sources(stores, changed_sources or config.changed_sources, reporter=reporter)
        is_new = not run.plan.exists()
        config, plan = resolve(config, run, mixture, tokenizer, reporter, world_size=ranks.world_size)
        planned = time.perf_counter() if is_new else None
        ranks.from_main(1.0)  # the others may read the run folder now
        training = _Training.build(config, mixture, tokenizer, ranks)
        watcher = Watcher(
            run=run,
            config=config,
            model=training.model,
            tokenizer=tokenizer,
            mixture=mixture,
            progress=training.batches.progress,
            card=functools.partial(model_card, config, mixture),
            reporter=reporter,
        )
        if config.sample_tokens and not run.read_samples():
            watcher.sample(step=0)
        result, compile_seconds = training.run(run, plan, watcher, reporter)
        return _finish(
            run, config, plan, mixture, tokenizer, training, result, compile_seconds, began, planned, reporter
        )


def _use_threads(config: PretrainConfig) -> None:
    """The CPU threads asked for; torch's own choice (all cores, or OMP_NUM_THREADS) if nothing was."""
    if config.threads:
        torch.set_num_threads(config.threads)


def _follow(path: Path, ranks: Ranks) -> PretrainResult:
    """What every rank but the first does: wait for the run folder to be ready, then train its share."""
    if ranks.from_main(1.0) == [0.0]:
        return PretrainResult(path, "finished", None, None, None, None)
    run = RunFolder.open(path)
    config = PretrainConfig.read(run.config)
    _use_threads(config)
    plan = Plan.read(run.plan)
    if config.mix:
        mixture = Mixture.open(config.mix, verify=False)
    else:
        prepared = path / "data" if (path / "data" / MANIFEST).is_file() else Path(config.data[0])
        mixture = Mixture.of(TokenStore.open(prepared, verify=False))
    training = _Training.build(config, mixture, Tokenizer.load(mixture.store.tokenizer_folder), ranks)
    result, _ = training.run(run, plan, None, QUIET)
    return PretrainResult(
        path, "interrupted" if result.outcome == "interrupted" else "finished", None, None, None, None
    )


@dataclass(frozen=True)
class _Training:
    """The parts of the job, built from the resolved settings."""

    config: PretrainConfig
    model: LanguageModel
    batches: TrainingBatches
    optimizer: Optimizer
    ranks: Ranks

    @classmethod
    def build(cls, config: PretrainConfig, mixture: Mixture, tokenizer: Tokenizer, ranks: Ranks) -> _Training:
        assert config.context_length and config.batch_size and config.micro_batch_size
        model = build_model(model_config(config, tokenizer), config.seed).to(ranks.device)
        model.compute_dtype = DTYPES[config.precision]
        batches = TrainingBatches(
            mixture.rows(config.context_length, packing=config.packing, stride=config.stride),
            batch_size=config.batch_size,
            micro_batch_size=config.micro_batch_size,
            seed=config.seed,
            rank=ranks.rank,
            world_size=ranks.world_size,
            parts=mixture.parts,
            drop_tokens=config.drop_tokens,
        )
        return cls(config, model, batches, Optimizer(model, _optimizer_settings(config)), ranks)

    def run(
        self, run: RunFolder, plan: Plan, watcher: Watcher | None, reporter: Reporter
    ) -> tuple[TrainingResult, float | None]:
        """Train; gives also the seconds that compiling took, None when it was not asked for."""
        config, ranks = self.config, self.ranks
        assert config.warmup is not None and config.decay is not None
        budget = Budget(steps=config.steps) if config.steps else Budget(seconds=plan.training_seconds)
        objective, began, compile_seconds = next_token_loss, time.perf_counter(), None
        if config.compile == "on":
            reporter.say("compiling the training step ...")
            objective = compiled(self.model, objective, self.batches(0)[0], reporter)
            compile_seconds = time.perf_counter() - began
        job = Job(
            model=self.model,
            batches=self.batches,
            objective=objective,
            optimizer=self.optimizer,
            budget=budget,
            schedule=functools.partial(
                warmup_stable_decay, warmup_steps=round(config.warmup * plan.steps), decay=config.decay
            ),
            hooks=watcher.hooks(budget.steps, budget.seconds) if watcher else (),
            gradient_clip=config.gradient_clip,
            seed=config.seed,
            save_every_seconds=config.save_every,
            setup_seconds=compile_seconds or 0.0,
            steps_per_epoch=self.batches.steps_per_epoch,
            flops_per_token=self.model.flops_per_token(config.context_length),
            ceiling_flops=ranks.world_size * measure_ceiling(ranks.device, self.model.compute_dtype),
        )
        metrics = RunMetrics(run) if ranks.is_main else None
        state = run.state if ranks.is_main else None
        return train(job, state_folder=state, metrics=metrics, reporter=reporter, ranks=ranks), compile_seconds


def _optimizer_settings(config: PretrainConfig) -> OptimizerSettings:
    assert config.learning_rate and config.embedding_learning_rate and config.head_learning_rate
    assert config.vector_learning_rate and config.weight_decay is not None
    return OptimizerSettings(
        matrix_learning_rate=config.learning_rate,
        embedding_learning_rate=config.embedding_learning_rate,
        head_learning_rate=config.head_learning_rate,
        vector_learning_rate=config.vector_learning_rate,
        matrices=config.optimizer,
        weight_decay=config.weight_decay,
    )


def _check_unchanged(run: RunFolder, mixture: Mixture, tokenizer: Tokenizer) -> None:
    """Note the hashes of data and tokenizer at the first start; at every later one they must be the same."""
    environment = read_json(run.environment)
    keys = {source.name: source.store.manifest["key"] for source in mixture.sources}
    hashes = {"data_sha256": keys if mixture.is_mixed else keys[""], "tokenizer_sha256": tokenizer.sha256}
    noted = environment.get("data_sha256")
    known = noted if isinstance(noted, dict) else {"": noted}
    compared = [(f"source {name}" if name else "data", known.get(name), key) for name, key in keys.items()]
    compared.append(("tokenizer", environment.get("tokenizer_sha256"), tokenizer.sha256))
    for what, before, value in compared:
        if before is not None and before != value:
            raise GroundupError(
                f"the {what} of {run.path} has changed since the run began (SHA-256 {before[:12]} then, {value[:12]} now); "
                f"put the old {what} back, or start a new run with another --out"
            )
    if "data_sha256" not in environment:
        write_json(run.environment, environment | hashes)


def _finish(
    run: RunFolder,
    config: PretrainConfig,
    plan: Plan,
    mixture: Mixture,
    tokenizer: Tokenizer,
    training: _Training,
    result: TrainingResult,
    compile_seconds: float | None,
    began: float,
    planned: float | None,
    reporter: Reporter,
) -> PretrainResult:
    """Verify the model folder, write summary and report, say what to do next."""
    difference = None
    if result.outcome == "finished" and not result.place.step:
        raise GroundupError("the time was over before the first step; give more time, or a smaller --size")
    if result.outcome == "finished":
        text = mixture.store.split("train")
        tokens = torch.from_numpy(text.read(0, min(config.context_length or 1, text.n_tokens)).astype("int64"))
        difference = verify_model(run.model, training.model, tokens)
        if math.isnan(difference):
            raise GroundupError(
                "training ended with weights that are not numbers; start again with lower learning rates or less weight decay"
            )
        if not difference <= LARGEST_DIFFERENCE:
            raise GroundupError(
                f"the model folder {run.model} read back gives other logits (max |difference| {difference:.1e}); "
                "the disk or the memory of this machine is at fault: run `groundup resume` on another"
            )
        reporter.say(f"model folder read back: max |logit difference| {difference:.1e}")
    summary = summarize(
        run,
        config,
        plan,
        mixture,
        tokenizer,
        training.model,
        outcome=result.outcome,
        training_seconds=result.place.elapsed_seconds,
        compile_seconds=compile_seconds,
        wall_seconds=time.perf_counter() - began,
        since_plan_seconds=None if planned is None else time.perf_counter() - planned,
        n_tokens=result.place.n_tokens,
        max_logit_difference=difference,
        device=training.ranks.device,
        progress=training.batches.progress(result.place.step),
    )
    run.write_summary(summary)
    write_report(run)
    if result.outcome == "diverged":
        raise GroundupError(result.message)
    reporter.say(result.message)
    reporter.say(f"report      {run.report}")
    for number, command in enumerate(summary.next_commands):
        reporter.say(f"{'next' if number == 0 else '':<12}{command}")
    return PretrainResult(
        run.path, result.outcome, summary.val_loss, summary.val_perplexity, summary.val_bits_per_byte, difference
    )
