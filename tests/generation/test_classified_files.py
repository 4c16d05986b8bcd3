"""Files come back with labels beside what they had; rows agree one to one."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import torch

from groundup.checkpoints.classifier_folder import ClassifierSettings
from groundup.core.errors import GroundupError
from groundup.generation.classified_files import classify_file
from groundup.generation.text_classifier import TextClassifier
from groundup.models import build_model, config_for_size
from groundup.models.classifier import Classifier
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer


@pytest.fixture(scope="module")
def parts() -> tuple[Classifier, Tokenizer]:
    tokenizer = train_tokenizer(["the quick brown fox jumps over the lazy dog, then sleeps. " * 20], vocab_size=290)
    model = Classifier(
        build_model(config_for_size("d2", 290, 64, "llama", d_model=32, d_head=16)), ("a", "b", "c")
    ).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model, tokenizer


@pytest.fixture
def classifier(parts) -> TextClassifier:
    return TextClassifier(*parts, ClassifierSettings(32))


def test_a_file_comes_back_with_its_own_columns(classifier: TextClassifier, tmp_path: Path):
    file, out = tmp_path / "m.csv", tmp_path / "out.csv"
    file.write_text('id,message,label\n1,"the fox, quick",mine\n2,,yours\n3,a dog,mine\n', encoding="utf-8")
    done = classify_file(classifier, file, out)
    assert (done.n_rows, done.n_empty, sum(done.counts.values())) == (3, 1, 2)
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    assert list(rows[0]) == [
        *("id", "message", "label", "predicted_label", "confidence"),
        *("probability_a", "probability_b", "probability_c"),
    ]
    [fox, dog] = classifier.predict(["the fox, quick", "a dog"])
    assert [row["predicted_label"] for row in rows] == [fox.label, "", dog.label]
    assert rows[0]["message"] == "the fox, quick" and rows[2]["label"] == "mine"
    assert float(rows[2]["probability_b"]) == pytest.approx(dog.probabilities["b"], abs=1e-6)
    as_lines = tmp_path / "out.jsonl"
    classify_file(classifier, file, as_lines)
    lines = [json.loads(line) for line in as_lines.read_text(encoding="utf-8").splitlines()]
    assert lines[1]["predicted_label"] is None and lines[0]["predicted_label"] == fox.label


def test_a_text_file_has_a_text_a_line(classifier: TextClassifier, tmp_path: Path):
    (tmp_path / "m.txt").write_text("fox\na dog\n", encoding="utf-8")
    out = io.StringIO()
    classify_file(classifier, tmp_path / "m.txt", out)
    assert [row["text"] for row in csv.DictReader(io.StringIO(out.getvalue()))] == ["fox", "a dog"]


@pytest.mark.parametrize(
    ("contents", "settings", "message"),
    [
        ("a,b\n1,2\n", {}, "which column holds the text"),
        ("text,b\nx,2\n", {"text_field": "body"}, "no column 'body'"),
        ("text,b\n", {}, "no row"),
    ],
)
def test_files_that_cannot_be_labelled(classifier, tmp_path: Path, contents: str, settings: dict, message: str):
    (tmp_path / "m.csv").write_text(contents, encoding="utf-8")
    with pytest.raises(GroundupError, match=message):
        classify_file(classifier, tmp_path / "m.csv", tmp_path / "out.csv", **settings)
    assert not (tmp_path / "out.csv").exists()
    with pytest.raises(GroundupError, match="must end in"):
        classify_file(classifier, tmp_path / "m.csv", tmp_path / "out.xls")
