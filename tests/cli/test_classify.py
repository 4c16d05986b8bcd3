"""`groundup classify`: texts, a file, the standard input; wrong input ends with a sentence and exit code 2."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
import torch

from groundup.checkpoints.classifier_folder import ClassifierSettings, save_classifier
from groundup.cli import main
from groundup.models import build_model, config_for_size
from groundup.models.classifier import Classifier
from groundup.tokenization.training import train_tokenizer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("runs") / "spam"
    tokenizer = train_tokenizer(["the quick brown fox jumps over the lazy dog, then sleeps. " * 20], vocab_size=290)
    model = Classifier(build_model(config_for_size("d1", 290, 64, "llama", d_model=64)), ("ham", "spam"))
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(1))
    save_classifier(place / "model", model, tokenizer, ClassifierSettings(8))
    return place


def said(capsys: pytest.CaptureFixture, code: int, *words: object) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["classify", *map(str, words)])
    output = capsys.readouterr()
    assert ended.value.code == code and "Traceback" not in output.err, output.err
    return output.out, output.err


def test_texts(run: Path, capsys):
    out, _ = said(capsys, 0, run, "the fox", "a dog")
    lines = [line.split("\t") for line in out.splitlines()]
    assert len(lines) == 2 and all(label in ("ham", "spam") and 0.5 <= float(sure) <= 1 for label, sure, _ in lines)


def test_a_file_to_the_terminal_and_to_a_file(run: Path, capsys, tmp_path: Path):
    file = tmp_path / "m.csv"
    file.write_text("id,text\n1,the fox\n2,\n3,one two three four five six seven eight nine ten eleven\n")
    out, err = said(capsys, 0, run, file)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["id"] for row in rows] == ["1", "2", "3"] and rows[1]["label"] == ""
    assert "1 row without text" in err and "1 text is longer than 8 tokens; only the start was read" in err
    out, _ = said(capsys, 0, run, file, "--out", tmp_path / "out.csv")
    assert str(tmp_path / "out.csv") in out
    assert list(csv.DictReader((tmp_path / "out.csv").open())) == rows


def test_the_standard_input(run: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("the fox\n\na dog\n"))
    assert len(said(capsys, 0, run)[0].splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("x", "--out", "y.csv"), "no file of texts was given; there is no file x"),
        (("x", "--threshold", "0.3"), "exactly one label"),
        ((" ",), "text 1 is empty"),
    ],
)
def test_wrong_input(run: Path, capsys, words, message: str):
    assert message in said(capsys, 2, run, *words)[1]


def test_no_classifier(tmp_path: Path, capsys):
    assert "does not exist" in said(capsys, 2, tmp_path / "nothing", "x")[1]
