"""The report of a classifier: of any number of labels, whatever they and the texts hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundup.core.files import write_json
from groundup.core.runs import RunFolder
from groundup.inspect.classify_report import sections


def found(labels: list[str], multi_label: bool = False) -> dict[str, Any]:
    n = len(labels)
    one = {"accuracy": 0.9, "precision": [0.5] * n, "recall": [0.25] * n, "f1": [1 / 3] * n, "about": None}
    one |= {"macro_precision": 0.5, "macro_recall": 0.25, "macro_f1": 1 / 3}
    one["intervals"] = {"accuracy": [0.8, 0.95], "macro_f1": [0.3, 0.4], "f1": [[0.2, 0.5]] * n}
    confusion = np.random.default_rng(1).integers(0, 20, (n, n)).tolist()
    error = {"text": "<script>alert(1)</script>", "place": "a.csv, row 7", "truth": labels[0], "predicted": labels[-1]}
    return {
        "labels": labels,
        "multi_label": multi_label,
        "temperature": 1.5,
        "counts": {side: [10] * n for side in ("train", "validation", "test")},
        "n_test": 10 * n,
        "classifiers": [
            {"name": name, **one} for name in ("this model", "TF-IDF + logistic regression", "majority class")
        ],
        "verdict": "The baseline wins: by 1 & 2.",
        "missing": None,
        "confusion": None if multi_label else confusion,
        "calibration": {
            name: {"error": 0.04, "confidence": [0.6, 0.9], "accuracy": [0.5, 1.0], "counts": [3, 4]}
            for name in ("before", "after")
        },
        "errors": [error | {"confidence": 0.987}],
        "n_errors": 1,
    }


def shown(tmp_path: Path, values: dict[str, Any]) -> dict[str, str]:
    write_json(tmp_path / "classification.json", values)
    return {heading: make() for heading, make in sections(RunFolder(tmp_path))}


@pytest.mark.parametrize("n", [2, 6, 50])
def test_any_number_of_labels(tmp_path: Path, n: int):
    labels = [f"a rather long name of label number {i}" for i in range(n)]
    html = shown(tmp_path, found(labels))
    assert html["Each class"].count("<tr>") == n + 1
    assert html["What it takes for what"].count("<rect") == n * n
    assert ("in texts" in html["What it takes for what"]) == (n <= 12)
    assert "1.50" in html["How sure it is, and how often right"]


def test_texts_and_labels_are_shown_and_never_obeyed(tmp_path: Path):
    html = "".join(shown(tmp_path, found(["<b>ham</b>", 'sp"am'])).values())
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "<b>ham" not in html and "&lt;b&gt;ham" in html and "1 &amp; 2" in html


def test_several_labels_have_no_confusion(tmp_path: Path):
    html = shown(tmp_path, found(["a", "b"], multi_label=True))
    assert html["What it takes for what"] == "" and "all labels right" in html["How good it is"]


def test_before_the_end_there_is_nothing_to_show(tmp_path: Path):
    assert sections(RunFolder(tmp_path)) == []
