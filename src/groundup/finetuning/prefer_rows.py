"""The rows of a preference run: which answers stand in which micro-batch, and what the model made of them before it learned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from groundup.core.progress import Reporter
from groundup.data.stream import RowStream
from groundup.data.windows import IGNORED_LABEL
from groundup.finetuning.prefer_data import TRAIN, VALIDATION, Judged, PreferConfig
from groundup.models.base import LanguageModel
from groundup.training.distributed import Ranks
from groundup.training.preferences import AnswerBatch, judged

PAD_TO = 16  # rows of a batch are as long as its longest, rounded up: fewer shapes


class PreferenceRows:
    """The batches of a run: `rows(step)` gives this rank's micro-batches."""

    def __init__(self, config: PreferConfig, answers: Judged, ranks: Ranks, data: Path) -> None:
        assert config.batch_size and config.micro_batch_size
        self.pairs = config.loss != "kto"
        self._config, self._answers, self._data = config, answers, data
        self._units = answers.units(TRAIN, pairs=self.pairs)
        self._stream = RowStream([len(self._units)], (1,), config.seed)
        n = config.batch_size // ranks.world_size
        self._mine = slice(ranks.rank * n, (ranks.rank + 1) * n)
        self._main = ranks.is_main
        self._reference: np.ndarray | None = None
        self._reference_beside: np.ndarray | None = None

    @property
    def steps_per_epoch(self) -> float:
        assert self._config.batch_size
        return len(self._units) / self._config.batch_size

    def __call__(self, step: int) -> list[AnswerBatch]:
        return list(self._batches(self._of_step(step)[self._mine], step))

    def some(self) -> AnswerBatch:
        """The first micro-batch, without what the reference makes of it."""
        return next(self._batches(self._of_step(0)[self._mine], 0))

    def of(self, side: int) -> Iterator[AnswerBatch]:
        """All pairs or judged answers of a side once, in order."""
        return self._batches(self._answers.units(side, pairs=self.pairs), -1)

    def mismatched(self, step: int) -> list[AnswerBatch]:
        """The prompts of a whole step, each with the answer to another."""
        return list(self._beside(self._of_step(step)))

    def of_validation_mismatched(self) -> list[AnswerBatch]:
        """The prompts of validation, each with the answer to another."""
        return list(self._beside(self._answers.units(VALIDATION, pairs=False)))

    def _of_step(self, step: int) -> np.ndarray:
        size = self._config.batch_size or 1
        _, places = self._stream(np.arange(step * size, (step + 1) * size))
        return self._units[places]

    def _batches(self, units: np.ndarray, step: int) -> Iterator[AnswerBatch]:
        n = self._config.micro_batch_size or 1
        for part in (units[i : i + n] for i in range(0, len(units), n)):
            rows = np.concatenate([part, self._answers.partner_N[part]]) if self.pairs else part
            liked = None if self.pairs else torch.from_numpy(self._answers.liked_N[rows])
            yield batch_of(
                [self._answers.examples.example(row) for row in rows], self._known(self._reference, rows), liked, step
            )

    def _beside(self, units: np.ndarray) -> Iterator[AnswerBatch]:
        n = self._config.micro_batch_size or 1
        for part in (units[i : i + n] for i in range(0, len(units), n)):
            yield batch_of([self._joined(unit) for unit in part], self._known(self._reference_beside, part))

    def _joined(self, unit: int) -> tuple[np.ndarray, np.ndarray]:
        """The prompt of one answer with the answer that lies half the data further on, cut to fit."""
        same_side = np.flatnonzero(self._answers.side_N == self._answers.side_N[unit])
        other = int(same_side[(np.searchsorted(same_side, unit) + max(1, len(same_side) // 2)) % len(same_side)])
        prompt = self._answers.examples.example(unit)[0][: self._answers.answer_start(unit)]
        answer = self._answers.examples.example(other)[0][self._answers.answer_start(other) :]
        ids = np.concatenate([prompt, answer])[: self._config.context_length]
        return ids, np.arange(len(ids)) >= len(prompt)

    def _known(self, numbers: np.ndarray | None, rows: np.ndarray) -> Tensor | None:
        return None if numbers is None else torch.from_numpy(numbers[rows])

    def note_reference(self, model: LanguageModel, reporter: Reporter) -> None:
        """What the model makes of every answer before it learns, worked out once and kept in the run folder."""
        place = self._data / "reference.npy"
        if not place.exists():
            n = len(self._answers.examples)
            every = np.arange(n)
            passes = [("reference", self._all(every))]
            if not self.pairs:
                passes.append(("reference of mismatched answers", self._beside(every)))
            found = [self._sums(model, batches, n, label, reporter) for label, batches in passes]
            if self._main:
                temporary = place.with_suffix(".partial.npy")
                np.save(temporary, np.stack(found), allow_pickle=False)
                temporary.replace(place)
            numbers = np.stack(found)
        else:
            numbers = np.load(place, allow_pickle=False)
        self._reference = numbers[0]
        self._reference_beside = numbers[1] if len(numbers) > 1 else None

    def _all(self, rows: np.ndarray) -> Iterator[AnswerBatch]:
        n = 2 * (self._config.micro_batch_size or 1)
        for part in (rows[i : i + n] for i in range(0, len(rows), n)):
            yield batch_of([self._answers.examples.example(row) for row in part])

    @torch.no_grad()
    def _sums(
        self, model: LanguageModel, batches: Iterable[AnswerBatch], n: int, label: str, reporter: Reporter
    ) -> np.ndarray:
        model.eval()
        found: list[Tensor] = []
        with reporter.bar(label, n, "answers") as bar:
            for batch in batches:
                found.append(judged(model, batch.to(model.token_embedding.weight.device)).policy_N.float().cpu())
                bar.advance(len(batch.tokens_BT))
        return torch.cat(found).numpy()


def batch_of(
    examples: list[tuple[np.ndarray, np.ndarray]],
    reference_B: Tensor | None = None,
    liked_B: Tensor | None = None,
    step: int = -1,
) -> AnswerBatch:
    """Examples as rows of one length; labels are the next tokens of the answer."""
    longest = -(-max(len(ids) for ids, _ in examples) // PAD_TO) * PAD_TO
    tokens = np.zeros((len(examples), longest), np.int64)
    labels = np.full((len(examples), longest), IGNORED_LABEL, np.int64)
    for row, (ids, trained) in enumerate(examples):
        tokens[row, : len(ids) - 1] = ids[:-1]
        labels[row, : len(ids) - 1] = np.where(trained[1:], ids[1:], IGNORED_LABEL)
    return AnswerBatch(torch.from_numpy(tokens), torch.from_numpy(labels), reference_B, liked_B, step)
