"""What came of a classifier: its scores on texts it never saw, beside what any classifier must beat, said plainly.

The temperature is fitted on the validation texts, everything else is measured on the test texts, once. The outcome is
`classification.json` in the run folder, which the report draws.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from groundup.core.errors import MissingExtraError
from groundup.core.files import write_json
from groundup.core.progress import Reporter
from groundup.core.runs import RunFolder
from groundup.data.labelled import SIDES, LabelledTexts
from groundup.data.records import BETWEEN_LABELS
from groundup.evaluation.classification import (
    Booleans,
    calibration,
    confusion,
    decisions,
    difference,
    fit_temperature,
    intervals,
    mean_loss,
    probabilities,
    score,
)
from groundup.evaluation.classification_baseline import majority, tfidf_regression

FILE = "classification.json"
WORST_ERRORS = 30
SHOWN_CHARACTERS = 500  # of a text in the report
MODEL, WORDS, MAJORITY = "this model", "TF-IDF + logistic regression", "majority class"


@dataclass(frozen=True)
class Judged:
    """The logits of the validation and test texts, and the truth of the first."""

    validation_logits: np.ndarray
    validation_truth: Booleans
    test_logits: np.ndarray


def judge(
    run: RunFolder, texts: LabelledTexts, judged: Judged, multi_label: bool, seed: int, reporter: Reporter
) -> float:
    """Measure, write `classification.json`, say the table; gives the temperature."""
    temperature = fit_temperature(judged.validation_logits, judged.validation_truth, multi_label=multi_label)
    truth = texts.truth("test")
    chances = probabilities(judged.test_logits, temperature, multi_label=multi_label)
    model = decisions(chances, multi_label=multi_label)
    found: dict[str, Booleans] = {MODEL: model}
    about, missing = {}, None
    reporter.say("baseline    TF-IDF + logistic regression on the same texts ...")
    try:
        sides = ("train", "validation", "test")
        read = [lambda side=side: (example.text for example in texts.rows(side)) for side in sides]
        train_truth = texts.truth("train")
        found[WORDS], about[WORDS] = tfidf_regression(
            read[0], train_truth, read[1], judged.validation_truth, read[2], multi_label=multi_label
        )
    except MissingExtraError as error:
        missing = f"without the baseline of words: {error}"
        reporter.warn(missing)
    found[MAJORITY] = majority(texts.truth("train"), len(truth), multi_label=multi_label)
    rows = [_row(name, predicted, truth, seed) | {"about": about.get(name)} for name, predicted in found.items()]
    verdict = _verdict(found, truth, seed)
    write_json(
        run.path / FILE,
        {
            "labels": list(texts.labels),
            "multi_label": multi_label,
            "temperature": temperature,
            "counts": {side: texts.manifest["counts"][side] for side in SIDES},
            "n_test": len(truth),
            "classifiers": rows,
            "verdict": verdict,
            "missing": missing,
            "loss": mean_loss(judged.test_logits, truth, temperature, multi_label=multi_label),
            "confusion": None if multi_label else confusion(model, truth).tolist(),
            "calibration": {
                "before": _calibration(judged, truth, 1.0, multi_label),
                "after": _calibration(judged, truth, temperature, multi_label),
            },
            "errors": _errors(texts, chances, model, truth, multi_label),
            "n_errors": int((model != truth).any(axis=1).sum()),
        },
    )
    for row in rows:
        reporter.say(f"test        {row['name']:<30} {_figures(row, texts.labels)}")
    reporter.say(f"            {verdict}")
    return temperature


def _row(name: str, predicted: Booleans, truth: Booleans, seed: int) -> dict[str, Any]:
    found, between = score(predicted, truth), intervals(predicted, truth, seed)
    lists = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in asdict(found).items()}
    return {"name": name, **lists, "intervals": between}


def _calibration(judged: Judged, truth: Booleans, temperature: float, multi_label: bool) -> dict[str, Any]:
    chances = probabilities(judged.test_logits, temperature, multi_label=multi_label)
    return asdict(calibration(chances, truth, multi_label=multi_label))


def _figures(row: dict[str, Any], labels: tuple[str, ...]) -> str:
    low, high = row["intervals"]["macro_f1"]
    text = f"accuracy {row['accuracy']:.1%}  macro F1 {row['macro_f1']:.3f} ({low:.3f} to {high:.3f})"
    if len(labels) <= 4:
        text += "  F1 of " + ", ".join(f"{label} {f1:.3f}" for label, f1 in zip(labels, row["f1"], strict=True))
    return text


def _verdict(found: dict[str, Booleans], truth: Booleans, seed: int) -> str:
    """Who won, in a sentence; by macro F1, with chance spoken of."""
    rival = WORDS if WORDS in found else MAJORITY
    gain, (low, high) = difference(found[MODEL], found[rival], truth, seed)
    figures = f"{gain:+.3f} macro F1 (95 %: {low:+.3f} to {high:+.3f})"
    if gain == 0:
        return f"This model and {rival} score the same macro F1 on these {len(truth):,} texts."
    chance = "" if low > 0 or high < 0 else "; with so few texts that may be chance"
    if gain < 0:
        return (
            f"The baseline wins: this model against {rival} {figures}{chance}. The simpler one would serve better here."
        )
    return f"This model beats {rival} by {figures}{chance}."


def _errors(
    texts: LabelledTexts, chances: np.ndarray, model: Booleans, truth: Booleans, multi_label: bool
) -> list[dict[str, Any]]:
    """The errors the model was surest of."""
    wrong = np.flatnonzero((model != truth).any(axis=1))
    if multi_label:
        sure = np.where(model != truth, np.abs(chances - 0.5) + 0.5, 0).max(axis=1)
    else:
        sure = chances.max(axis=1)
    worst = {int(row) for row in wrong[np.argsort(-sure[wrong], kind="stable")][:WORST_ERRORS]}
    names = np.array(texts.labels, dtype=object)
    found = [
        {
            "text": example.text[:SHOWN_CHARACTERS],
            "place": example.place,
            "truth": BETWEEN_LABELS.join(names[truth[row]]),
            "predicted": BETWEEN_LABELS.join(names[model[row]]),
            "confidence": float(sure[row]),
        }
        for row, example in enumerate(texts.rows("test"))
        if row in worst
    ]
    return sorted(found, key=lambda error: -error["confidence"])
