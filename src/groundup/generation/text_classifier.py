"""A classifier and its tokenizer together: texts in, labels with probabilities out.

One idea: texts are sorted by length, a few thousand at a time, and read in batches of about equal area; answers come back in
the order the texts came. Padding changes nothing, so how they are batched does not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from groundup.checkpoints.classifier_folder import ClassifierSettings, load_classifier_folder
from groundup.checkpoints.model_folder import is_adapter_folder
from groundup.core.device import pick_device
from groundup.core.errors import GroundupError, unknown_name
from groundup.core.files import recover_retired
from groundup.data.labelled_batches import Ids, Reader, padded
from groundup.data.records import BETWEEN_LABELS
from groundup.models.classifier import Classifier
from groundup.tokenization.tokenizer import Tokenizer

TOKENS_AT_ONCE = 2048  # of a batch, padding included
TEXTS_AT_ONCE = 2048  # sorted together
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Prediction:
    """The answer for one text. `labels` are all that apply: exactly one, unless the classifier knows several."""

    labels: tuple[str, ...]
    confidence: float  # the probability of the label; of several labels, of all decisions at once (their product)
    probabilities: dict[str, float]

    @property
    def label(self) -> str:
        """The label, or the labels with `|` between them."""
        return BETWEEN_LABELS.join(self.labels)


class TextClassifier:
    """Opened by `groundup.load_classifier`; `labels` are the names of its classes."""

    def __init__(self, model: Classifier, tokenizer: Tokenizer, settings: ClassifierSettings) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.labels = model.labels
        self.n_cut = 0  # texts so far that were longer than the context
        self._reader = Reader(tokenizer, settings.context_length, settings.keep)

    def predict(self, texts: str | Iterable[str]) -> list[Prediction]:
        """The labels of some texts, in their order. Raises GroundupError for a text without any token."""
        return list(self.stream([texts] if isinstance(texts, str) else texts))

    def stream(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """As `predict`, a few thousand texts held at a time."""
        texts, n_done = iter(texts), 0
        while group := list(islice(texts, TEXTS_AT_ONCE)):
            rows = []
            for number, (text, ids) in enumerate(zip(group, self._reader.read(group), strict=True), start=n_done + 1):
                if not text.strip() or not len(ids):
                    raise GroundupError(f"text {number} is empty; there is nothing to classify")
                self.n_cut += len(ids) > self.settings.context_length
                rows.append(self._reader.cut(ids))
            yield from self._answers(logits_of(self.model, rows))
            n_done += len(group)

    def _answers(self, logits_NC: npt.NDArray[np.float32]) -> Iterator[Prediction]:
        settings = self.settings
        scaled = torch.from_numpy(logits_NC).double() / settings.temperature
        table = scaled.sigmoid() if settings.multi_label else scaled.softmax(dim=1)
        for row in table.tolist():
            named = dict(zip(self.labels, row, strict=True))
            if settings.multi_label:
                labels = tuple(name for name, p in named.items() if p >= settings.threshold)
                sure = float(np.prod([p if p >= settings.threshold else 1 - p for p in row]))
                yield Prediction(labels, sure, named)
            else:
                best = max(named, key=named.__getitem__)
                yield Prediction((best,), named[best], named)


def load_classifier(
    name: str | Path, *, precision: str = "fp32", device: str = "auto", threshold: float | None = None
) -> TextClassifier:
    """Open a classifier: a run folder of `groundup finetune classify`, or a model folder of it or of transformers.

    `precision` is what it computes in, fp32 or bf16; `threshold` is that of the labels of a classifier of several, in place of
    its own.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    model, tokenizer, settings = load_classifier_folder(
        classifier_place(Path(name)), dtype=PRECISIONS[precision], device=pick_device(device)
    )
    if threshold is not None:
        if not settings.multi_label:
            raise GroundupError(
                f"threshold {threshold} has no effect: this classifier gives each text exactly one label"
            )
        if not 0 < threshold < 1:
            raise GroundupError(f"threshold {threshold} is not between 0 and 1")
        settings = ClassifierSettings(**{**vars(settings), "threshold": threshold})
    return TextClassifier(model, tokenizer, settings)


def classifier_place(path: Path) -> Path:
    """The folder of the classifier that a run folder, or the folder itself, names."""
    for place in (path, path / "model"):
        recover_retired(place)
        if (place / "config.json").is_file() or is_adapter_folder(place):
            return place
    what = (
        "holds no classifier (no config.json or adapter_config.json, there or in model/)"
        if path.exists()
        else "does not exist"
    )
    raise GroundupError(f"{path} {what}; make one with `groundup finetune classify MODEL DATA --out {path}`")


@torch.no_grad()
def logits_of(model: Classifier, rows: Sequence[Ids]) -> npt.NDArray[np.float32]:
    """The logits [N, C] of rows of tokens, dropout off, in their order."""
    training, device = model.training, model.score.weight.device
    found = np.empty((len(rows), len(model.labels)), np.float32)
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    try:
        model.eval()
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and (stop + 1 - start) * len(rows[order[stop]]) <= TOKENS_AT_ONCE:
                stop += 1
            tokens, lengths = padded([rows[row] for row in order[start:stop]])
            found[order[start:stop]] = model(tokens.to(device), lengths.to(device)).cpu().numpy()
            start = stop
    finally:
        model.train(training)
    return found
