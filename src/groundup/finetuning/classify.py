"""Fine-tuning to classify: a language model's trunk, a head of labels, and rows of texts with their labels.

One idea: the model is moved no further than asked. `train` says which parts: the head; the last block, the final norm and the
head as in the textbook (Raschka 2024, chapter 6); or all; with `lora` an adapter and the head. What comes out is measured
on texts it never saw, beside a classifier of words (classify_results.py).
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from groundup.adapters.config import AdapterConfig
from groundup.adapters.lora import count_parameters
from groundup.checkpoints.classifier_folder import (
    ClassifierSettings,
    load_classifier_folder,
    save_adapted_classifier,
    save_classifier,
)
from groundup.checkpoints.model_folder import resolve_model
from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.core.runs import DataSummary, RunFolder, SourceSummary, SplitSummary
from groundup.data.labelled import SIDES, LabelledTexts, Splitting, collect_labelled
from groundup.data.labelled_batches import LabelledBatches, Reader, TokenRows
from groundup.evaluation.classification import decisions, mean_loss, probabilities, score
from groundup.finetuning.base_model import Base, open_base, settle_precision
from groundup.finetuning.classify_config import TEST_SHARE, VALIDATION_SHARE, Config
from groundup.finetuning.classify_results import Judged, judge
from groundup.finetuning.run import Look, Tuning
from groundup.generation.text_classifier import logits_of
from groundup.models.classifier import Classifier, train_only
from groundup.training.distributed import Ranks
from groundup.training.label_objective import balanced_weights, label_loss, several_labels_loss
from groundup.training.objectives import Objective

# Peak rates at width 768, where the book's own is 5e-5 (Raschka 2024, section 6.7); narrower models take larger steps
# (Yang et al. 2022, "Tensor Programs V": the best rate of Adam falls with the width). An adapter's begins at zero and takes
# ten times as much (Schulman et al. 2025, "LoRA Without Regret").
RATES = {"head": 1e-3, "last-block": 1e-4, "all": 5e-5, "adapter": 5e-4}
BATCH_SIZE, MICRO_BATCH_SIZE, EPOCHS = 32, 8, 3.0
TEXTS_A_LOOK = 1000
TEXTS_VERIFIED = 8


def collect(config: Config, run: RunFolder, reporter: Reporter) -> None:
    """Read the texts and share them out, into the run's `data/`."""
    resolve_model(config.model)  # what is wrong with the model is said before the texts are read
    if config.lora is not None:
        AdapterConfig.parse(config.lora)
    paths = {"train": config.data, "validation": config.validation_data, "test": config.test_data}
    splitting = Splitting(
        config.validation_fraction or VALIDATION_SHARE,
        config.test_fraction or TEST_SHARE,
        config.seed,
        config.multi_label,
        config.balance == "undersample",
    )
    reading = {"format": config.format, "map": config.map, "encoding": config.encoding}
    texts = collect_labelled(run.path / "data" / "labelled", paths, splitting, reading=reading, reporter=reporter)
    sizes = ", ".join(f"{texts.n_rows(side):,} {side}" for side in SIDES)
    reporter.say(f"texts       {sizes}; {len(texts.labels)} labels: {_shown(texts.labels)}")


def prepare(config: Config, run: RunFolder, ranks: Ranks, reporter: Reporter) -> Tuning:
    """Open the model, put a head on it, and resolve what was left out."""
    texts = LabelledTexts(run.path / "data" / "labelled")
    base = open_base(config, str(ranks.device))
    if base.has_adapter and config.train is not None:
        raise GroundupError(
            f"{config.model} is an adapter, which is trained on with the head; leave --train {config.train} out"
        )
    model = Classifier(base.model, texts.labels)
    if base.has_adapter:
        trained = "the adapter and the head"
    else:
        config = config.model_copy(update={"train": config.train or "last-block"})
        assert config.train
        train_only(model, config.train)
        trained = config.train
    counts = count_parameters(model)
    facts = base.facts() | {
        "trained": trained,
        "parameters": f"{counts[1]:,}, of them trained {counts[0]:,} ({counts[0] / counts[1]:.2%})",
        "labels": ", ".join(texts.labels),
    }
    reporter.say(f"model       {config.model}; {trained}: {counts[0]:,} of {counts[1]:,} parameters are trained")

    rows = {side: TokenRows(run.path / "data" / f"tokens.{side}.bin", texts, side, base.tokenizer) for side in SIDES}
    config, notes = _resolved(config, base.model.config, rows, ranks)
    assert config.batch_size and config.micro_batch_size and config.context_length
    for note in notes:
        reporter.warn(note)
    reader = Reader(base.tokenizer, config.context_length, config.keep)
    batches = LabelledBatches(
        rows["train"],
        reader,
        batch_size=config.batch_size,
        micro_batch_size=config.micro_batch_size,
        seed=config.seed,
        multi_label=config.multi_label,
        balanced=config.balance == "sample",
        fixed_width=config.compile == "on",
        rank=ranks.rank,
        world_size=ranks.world_size,
    )
    objective = _objective(config, texts)
    precision = settle_precision(config, base, objective, batches(0)[-1], reporter, model)
    config = config.model_copy(update={"precision": precision})
    assert config.context_length
    settings = ClassifierSettings(config.context_length, config.keep, config.multi_label)
    work = _Work(config, base, model, reader, rows, settings, texts, reporter)
    command = f"groundup classify {shlex.quote(str(run.path))}"
    return Tuning(
        config=config,
        model=model,
        batches=batches,
        objective=objective,
        steps_per_epoch=batches.steps_per_epoch,
        look=work.look,
        save=work.save,
        verify=work.verify,
        finish=work.finish,
        n_parameters=model.n_parameters(),
        facts=facts,
        notes=tuple(notes),
        data=_summary(texts, rows),
        next_commands=(f'{command} "a text of yours"', f"{command} texts.csv --out labelled.csv"),
        hashes={"data": texts.sha256, "model": base.sha256},
    )


class _Work:
    """The model and its texts, with what the run asks of them between steps and at the end."""

    def __init__(
        self,
        config: Config,
        base: Base,
        model: Classifier,
        reader: Reader,
        rows: dict[str, TokenRows],
        settings: ClassifierSettings,
        texts: LabelledTexts,
        reporter: Reporter,
    ) -> None:
        self.config, self.base, self.model, self.reader = config, base, model, reader
        self.rows, self.settings, self.texts, self.reporter = rows, settings, texts, reporter
        self._looked: np.ndarray | None = None  # what the last look, after the last step, found on all validation texts

    def logits(self, side: str, n: int | None = None) -> np.ndarray:
        """The logits of the texts of a side, or of `n` of them spread over it."""
        rows = self.rows[side]
        chosen = range(len(rows)) if n is None else np.arange(min(n, len(rows))) * len(rows) // min(n, len(rows))
        return logits_of(self.model, [self.reader.cut(rows[int(row)]) for row in chosen])

    def look(self) -> Look:
        """Loss, accuracy and macro F1 on the validation texts, at most `TEXTS_A_LOOK` of them."""
        rows, several = self.rows["validation"], self.config.multi_label
        n = min(TEXTS_A_LOOK, len(rows))
        logits, truth = self.logits("validation", n), rows.truth[np.arange(n) * len(rows) // n]
        self._looked = logits if n == len(rows) else None
        found = score(decisions(probabilities(logits, multi_label=several), multi_label=several), truth)
        loss = mean_loss(logits, truth, multi_label=several)
        row = {"val_loss": loss, "val_accuracy": found.accuracy, "val_macro_f1": found.macro_f1}
        line = f"validation loss {loss:.4f}, accuracy {found.accuracy:.1%}, macro F1 {found.macro_f1:.3f}"
        return Look(row, line)

    def save(self, folder: Path) -> None:
        """The classifier's folder; with an adapter, the adapter's."""
        if (base := self.base.adapter_base) is None:
            save_classifier(folder, self.model, self.base.tokenizer, self.settings)
        else:
            save_adapted_classifier(folder, self.model, self.base.tokenizer, self.settings, base=base)

    @torch.no_grad()
    def verify(self, folder: Path) -> float:
        """The largest |difference| of fp32 logits of a few validation texts, the folder's model against this one."""
        rows = self.rows["validation"]
        some = [self.reader.cut(rows[row]) for row in range(min(TEXTS_VERIFIED, len(rows)))]
        loaded, _, _ = load_classifier_folder(folder, dtype=torch.float32, device=self.model.score.weight.device)
        if self.base.has_adapter:  # whose base is kept as it was in training
            self.base.keep_alike(loaded.language_model)
        before, self.model.compute_dtype = self.model.compute_dtype, torch.float32
        try:
            return float(np.abs(logits_of(self.model, some) - logits_of(loaded, some)).max())
        finally:
            self.model.compute_dtype = before

    def finish(self, run: RunFolder) -> None:
        """Fit the temperature, judge the classifier on the test texts, write `classification.json`."""
        validation = self.logits("validation") if self._looked is None else self._looked
        judged = Judged(validation, self.rows["validation"].truth, self.logits("test"))
        temperature = judge(run, self.texts, judged, self.config.multi_label, self.config.seed, self.reporter)
        self.settings = replace(self.settings, temperature=temperature)
        self.save(run.model)


def _resolved(config: Config, model_config, rows: dict[str, TokenRows], ranks: Ranks) -> tuple[Config, list[str]]:
    """What was left out, derived; and what a person may not expect, a line each."""
    notes = []
    lengths = np.concatenate([rows[side].lengths for side in SIDES])
    if not lengths.min(initial=1):
        raise GroundupError("a text has no token at all in this model's vocabulary; take the empty texts out")
    most = model_config.max_length
    context = config.context_length
    if context is None:
        context = min(-(-int(lengths.max()) // 8) * 8, most or model_config.context_length)
    elif most is not None and context > most:
        raise GroundupError(
            f"context_length {context} exceeds the {most} positions this model has; pass --context-length {most} or less"
        )
    n_cut = int((lengths > context).sum())
    if n_cut:
        notes.append(
            f"{n_cut:,} of {len(lengths):,} texts ({n_cut / len(lengths):.1%}) are longer than {context} tokens; of these only "
            f"the {config.keep} is read (--keep, --context-length)"
        )
    least = ranks.world_size
    size = config.batch_size or max(least, min(BATCH_SIZE, len(rows["train"])) // least * least)
    mine = size // least
    if size % least:
        raise GroundupError(f"batch_size {size} cannot be shared equally among {least} processes")
    micro = config.micro_batch_size or max(n for n in range(1, min(MICRO_BATCH_SIZE, mine) + 1) if mine % n == 0)
    if mine % micro:
        raise GroundupError(f"micro_batch_size {micro} does not divide the {mine} rows each process takes of a batch")
    rate = config.learning_rate
    if rate is None:
        rate = float(f"{RATES[config.train or 'adapter'] * 768 / model_config.d_model:.2g}")
    epochs = config.epochs or (None if config.steps or config.time else EPOCHS)
    values = {
        "context_length": context,
        "batch_size": size,
        "micro_batch_size": micro,
        "learning_rate": rate,
        "epochs": epochs,
    }
    return config.model_copy(update=values), notes


def _objective(config: Config, texts: LabelledTexts) -> Objective:
    if config.multi_label:
        return several_labels_loss
    weights = balanced_weights(texts.manifest["counts"]["train"]) if config.balance == "weights" else None
    return label_loss(weights)


def _summary(texts: LabelledTexts, rows: dict[str, TokenRows]) -> DataSummary:
    manifest = texts.manifest
    sources = tuple(SourceSummary(each["path"], each["n_bytes"], each["sha256"]) for each in manifest["sources"])
    splits = {side: SplitSummary(len(rows[side]), int(rows[side].lengths.sum()), None) for side in SIDES}
    return DataSummary(sources, splits, note="; ".join(manifest["remarks"]) or None)


def _shown(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:10]) + (f" and {len(labels) - 10} more" if len(labels) > 10 else "")
