"""Classifying end to end: what is learned, measured and written; what is refused; each setting does something."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from groundup.adapters.config import AdapterConfig
from groundup.adapters.lora import add_adapter
from groundup.checkpoints.adapter_folder import save_adapter
from groundup.checkpoints.classifier_folder import load_classifier_folder
from groundup.checkpoints.model_folder import load_model, save_model
from groundup.core.config import read_yaml
from groundup.core.errors import GroundupError
from groundup.core.files import read_json
from groundup.core.progress import Reporter
from groundup.core.runs import RunFolder
from groundup.finetuning.classify_config import Config
from groundup.finetuning.run import finetune
from groundup.generation.text_classifier import load_classifier
from groundup.models import build_model, config_for_size
from groundup.tokenization.training import train_tokenizer

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
WORDS = {"sun": "bright warm dry", "rain": "wet grey drops", "snow": "white cold flakes"}


class Heard(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str = "") -> None:
        self.lines.append(text)

    warn = say


def text_of(label: str, number: int) -> str:
    words = WORDS[label].split()
    return f"day {number} was {words[number % 3]} and {words[(number + 1) % 3]}"


def table(n_of: dict[str, int]) -> str:
    rows = [f"{text_of(label, number)},{label}" for label, n in n_of.items() for number in range(n)]
    return "body,kind\n" + "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("base") / "model"
    tokenizer = train_tokenizer([table({"sun": 40, "rain": 40, "snow": 40})], vocab_size=310)
    sizes = config_for_size("d2", tokenizer.vocab_size, 48, "llama", d_model=64, d_head=16)
    save_model(place, build_model(sizes, seed=1), tokenizer)
    return place


FAST = {"precision": "fp32", "threads": 1, "evaluations": 1, "train": "all", "learning_rate": 3e-3, "batch_size": 8}
MAP = {"text": "body", "label": "kind"}


def tuned(
    base: Path,
    place: Path,
    n_of: dict[str, int],
    heard: Reporter | None = None,
    rows: str | None = None,
    **settings: Any,
) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    (place / "days.csv").write_text(rows or table(n_of))
    values = {"map": MAP, "steps": 30} | FAST | settings
    values = {name: value for name, value in values.items() if value is not None}
    return finetune(
        "classify", base, place / "days.csv", out=place / "run", reporter=heard or Reporter(), **values
    ).path


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tuned(base, tmp_path_factory.mktemp("run"), {"sun": 50, "rain": 50, "snow": 20})


def test_it_learns_and_is_measured_beside_what_it_must_beat(run: Path):
    found = read_json(run / "classification.json")
    model, words, majority = found["classifiers"]
    assert found["labels"] == ["rain", "snow", "sun"] and found["n_test"] == 24
    assert model["accuracy"] > 0.9 and words["accuracy"] > 0.9
    assert majority["accuracy"] == pytest.approx(10 / 24) and majority["recall"] in ([1, 0, 0], [0, 0, 1])
    assert found["counts"]["train"] == [35, 14, 35]
    assert sum(map(sum, found["confusion"])) == 24
    assert len(found["errors"]) == found["n_errors"] == 24 - round(24 * model["accuracy"])
    settings = read_json(run / "model" / "classification.json")
    assert settings["temperature"] == found["temperature"] and settings["context_length"] % 8 == 0
    classifier = load_classifier(run)
    assert classifier.predict(["day 99 was grey and wet"])[0].label == "rain"
    rows = RunFolder.open(run).read_metrics()
    looks = [row for row in rows if "val_loss" in row]
    assert looks[0]["val_loss"] == pytest.approx(1.0986, abs=1e-3)  # log 3: a new head prefers nothing
    assert looks[-1]["val_accuracy"] > 0.9 and looks[-1]["val_macro_f1"] > 0.9


def test_the_report_shows_it(run: Path):
    html = (run / "report.html").read_text(encoding="utf-8")
    for heading in ("How good it is", "Each class", "What it takes for what", "How sure it is", "Its surest errors"):
        assert heading in html
    assert "TF-IDF + logistic regression" in html and "nats per text" in html and "nats per token" not in html


def test_several_labels(base: Path, tmp_path: Path):
    pairs = [("rain", "snow"), ("rain", "sun"), ("snow", "sun")]
    rows = [(f"{text_of(a, n)}, then {text_of(b, n)}", f"{a}|{b}") for n in range(12) for a, b in pairs]
    rows += [(text_of(one, n), one) for n in range(12) for one in WORDS]
    file = tmp_path / "days.tsv"
    file.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    place = finetune("classify", base, file, out=tmp_path / "run", multi_label=True, steps=60, **FAST).path
    found = read_json(place / "classification.json")
    assert found["classifiers"][0]["macro_f1"] > 0.85 and found["confusion"] is None
    classifier = load_classifier(place)
    both, one = classifier.predict(
        ["day 7 was grey and wet, then day 7 was bright and warm", "day 3 was white and cold"]
    )
    assert both.labels == ("rain", "sun") and one.labels == ("snow",)
    assert read_json(place / "model" / "config.json")["problem_type"] == "multi_label_classification"


@pytest.mark.parametrize("balance", ["weights", "sample", "undersample"])
def test_balance_helps_the_rare_class_be_heard(balance: str, base: Path, tmp_path: Path):
    # Nothing in a text tells its class: the best guess is the common one, and balanced it is either.
    texts = [(text_of("sun", n), "rain" if n % 11 == 0 else "sun") for n in range(132)]
    rows = "body,kind\n" + "".join(f"{text},{label}\n" for text, label in texts)
    runs = [tuned(base, tmp_path / each, {}, rows=rows, balance=each, steps=30) for each in ("none", balance)]
    kept = [read_json(run / "classification.json") for run in runs]
    odds = []  # the mean log odds of the rare class, before the temperature that is fitted afterwards
    for run, found in zip(runs, kept, strict=True):
        answers = load_classifier(run).predict([text for text, _ in texts[:22]])
        chances = [answer.probabilities["rain"] for answer in answers]
        odds.append(sum(math.log(p / (1 - p)) for p in chances) / len(chances) * found["temperature"])
    assert odds[0] < -1.5 and abs(odds[1]) < 1, odds
    assert (kept[1]["counts"]["train"] == [9, 9]) == (balance == "undersample")


def test_without_scikit_learn_the_run_goes_on_and_says_so(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    heard = Heard()
    place = tuned(base, tmp_path, {"sun": 20, "rain": 20}, heard, steps=2)
    found = read_json(place / "classification.json")
    assert [row["name"] for row in found["classifiers"]] == ["this model", "majority class"]
    assert "groundup[classify]" in found["missing"] and any("groundup[classify]" in line for line in heard.lines)


def test_a_loss_against_the_baseline_is_admitted(base: Path, tmp_path: Path):
    heard = Heard()
    place = tuned(base, tmp_path, {"sun": 40, "rain": 40}, heard, steps=1, learning_rate=1e-6)
    verdict = read_json(place / "classification.json")["verdict"]
    assert verdict.startswith("The baseline wins") and any(verdict in line for line in heard.lines)
    assert verdict in (place / "report.html").read_text(encoding="utf-8")


def test_an_adapter_with_its_head_is_written_and_opened(base: Path, tmp_path: Path):
    place = tuned(base, tmp_path, {"sun": 20, "rain": 20}, lora="r=4", train=None, steps=20)
    about = read_json(place / "model" / "adapter_config.json")
    assert about["task_type"] == "SEQ_CLS" and about["modules_to_save"] == ["score"]
    classifier = load_classifier(place)
    assert classifier.labels == ("rain", "sun")
    assert classifier.predict("day 99 was grey and wet")[0].label == "rain"
    assert not (place / "model" / "model.safetensors").exists()


def test_long_texts_are_counted_and_cut(base: Path, tmp_path: Path):
    heard = Heard()
    tuned(base, tmp_path, {"sun": 20, "rain": 20}, heard, steps=1, context_length=4, keep="end")
    assert any(
        "40 of 40 texts (100.0%) are longer than 4 tokens; of these only the end is read" in line
        for line in heard.lines
    )


def test_with_a_persons_own_files(base: Path, tmp_path: Path):
    for name, n_of in {"val": {"sun": 5, "rain": 5}, "test": {"sun": 3, "rain": 4}}.items():
        (tmp_path / f"{name}.csv").write_text(table(n_of).replace("day", f"{name} day"))
    files = {"validation_data": [str(tmp_path / "val.csv")], "test_data": [str(tmp_path / "test.csv")]}
    place = tuned(base, tmp_path, {"sun": 20, "rain": 20}, steps=1, **files)
    counts = read_json(place / "classification.json")["counts"]
    assert counts == {"train": [20, 20], "validation": [5, 5], "test": [4, 3]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": "head", "lora": "r=4"}, "train head has no effect"),
        ({"multi_label": True, "balance": "weights"}, "exclude each other"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "no text to train on"),
        ({"test_fraction": 0.0}, "nothing to measure with"),
        ({"context_length": 4096}, "exceeds the 48 positions"),
        ({"batch_size": 8, "micro_batch_size": 3}, "does not divide"),
        ({"map": {"text": "body", "label": "sort"}}, "no field 'sort'"),
    ],
)
def test_settings_that_cannot_be(settings: dict, message: str, base: Path, tmp_path: Path):
    with pytest.raises(GroundupError, match=message):
        tuned(base, tmp_path, {"sun": 20, "rain": 20}, **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("file", sorted(RECIPES.glob("classify*.yaml")), ids=lambda file: file.stem)
def test_recipes_are_settings_that_can_be(file: Path, base: Path, tmp_path: Path):
    config = Config.build(read_yaml(file) | {"model": str(base), "method": "classify"}, source=str(file))
    values = config.model_dump(exclude_unset=True) | {"steps": 2, "epochs": None, "model": None, "method": None}
    place = tuned(base, tmp_path, {"sun": 30, "rain": 12}, **values)
    found = read_json(place / "classification.json")
    assert found["counts"]["train"] == [9, 9]


def test_the_textbooks_recipe_is_the_textbooks():
    values = read_yaml(RECIPES / "classify-gpt2-textbook.yaml")
    assert (values["epochs"], values["batch_size"], values["learning_rate"], values["weight_decay"]) == (
        5,
        8,
        5e-5,
        0.1,
    )
    assert (values["train"], values["balance"], values["warmup"], values["decay"]) == (
        "last-block",
        "undersample",
        0,
        0,
    )


def test_the_folder_of_a_half_trained_model_is_the_base_and_the_rest(base: Path, tmp_path: Path):
    place = tuned(base, tmp_path, {"sun": 20, "rain": 20}, train="head", steps=3)
    model, _, _ = load_classifier_folder(place / "model")
    language, _ = load_model(base)
    own = dict(model.language_model.named_parameters())
    assert all(torch.equal(own[name], value) for name, value in language.named_parameters() if name in own)
    assert model.score.weight.abs().sum() > 0


def test_an_adapter_is_gone_on_with(base: Path, tmp_path: Path):
    language, tokenizer = load_model(base)
    add_adapter(language, AdapterConfig(rank=2), seed=1)
    save_adapter(tmp_path / "adapter", language, tokenizer, base=base)
    place = tuned(tmp_path / "adapter", tmp_path, {"sun": 20, "rain": 20}, train=None, steps=20)
    about = read_json(place / "model" / "adapter_config.json")
    assert (about["r"], about["modules_to_save"]) == (2, ["score"])
    assert load_classifier(place).predict("day 99 was grey and wet")[0].label == "rain"
    with pytest.raises(GroundupError, match="leave --train all out"):
        tuned(tmp_path / "adapter", tmp_path / "other", {"sun": 20, "rain": 20}, train="all")
