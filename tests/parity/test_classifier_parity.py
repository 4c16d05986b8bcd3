"""A classifier's folder opens in transformers with equal logits, one text or several of unequal lengths; and theirs opens here."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from groundup.checkpoints.classifier_folder import ClassifierSettings, load_classifier_folder, save_classifier
from groundup.core.files import read_json
from groundup.models import architecture_names, build_model
from groundup.models.classifier import Classifier
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer

transformers = pytest.importorskip("transformers")


def parity_module(name: str) -> ModuleType:
    """A file beside this one, which holds cases that are shared."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cases = parity_module("test_transformers_parity")
LABELS = ("ham", "spam", "none of both")
# One case a family, and those that differ in what a classifier's folder leaves out or keeps: the head.
WITHOUT_CLASS = {name for name in cases.OURS if cases.OURS[name].architecture in ("mamba", "mamba2")}
OURS = [name for name in cases.OURS if name not in WITHOUT_CLASS]
LENGTHS = (9, 4, 1)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["the quick brown fox jumps over the lazy dog, then sleeps. " * 20], vocab_size=290)


def rows(pad: int) -> tuple[Tensor, Tensor]:
    """Texts without the padding's id, padded with it."""
    ids = torch.randint(VOCAB_FROM, 280, (len(LENGTHS), max(LENGTHS)), generator=torch.Generator().manual_seed(7))
    for row, length in zip(ids, LENGTHS, strict=True):
        row[length:] = pad
    return ids, torch.tensor(LENGTHS)


VOCAB_FROM = 10


@pytest.mark.parametrize("name", OURS)
def test_transformers_gives_our_logits(name: str, tokenizer: Tokenizer, tmp_path: Path):
    language = build_model(cases.OURS[name])
    cases.scatter(language)
    model = Classifier(language, LABELS).eval()
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(3))
    save_classifier(tmp_path / "model", model, tokenizer, ClassifierSettings(16))
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    assert type(theirs).__name__.endswith("ForSequenceClassification")
    assert tuple(theirs.config.id2label.values()) == LABELS
    ids, lengths = rows(theirs.config.pad_token_id)
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    with torch.no_grad():
        ours, found = model(ids, lengths), theirs(ids, attention_mask=mask).logits
    assert cases.difference(found, ours) < cases.TOLERANCE
    again, _, settings = load_classifier_folder(tmp_path / "model")
    with torch.no_grad():
        assert torch.equal(again(ids, lengths), ours)
    assert (again.labels, settings) == (LABELS, ClassifierSettings(16))
    assert again.language_model.config.tie_embeddings == language.config.tie_embeddings


@pytest.mark.parametrize("name", [name for name, case in cases.THEIRS.items() if "mamba" not in case["model_type"]])
def test_theirs_opens_here(name: str, tokenizer: Tokenizer, tmp_path: Path):
    settings = cases.THEIRS[name] | {"id2label": dict(enumerate(LABELS)), "pad_token_id": 0}
    config = transformers.AutoConfig.for_model(**settings)
    if type(config) not in transformers.AutoModelForSequenceClassification._model_mapping:
        pytest.skip(f"transformers has no classifier of {settings['model_type']}")
    theirs = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    cases.scatter(theirs)
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    model, _, found = load_classifier_folder(tmp_path)
    ids, lengths = rows(0)
    with torch.no_grad():
        wanted = theirs(ids, attention_mask=(ids != 0).long()).logits
        assert cases.difference(model(ids, lengths), wanted) < cases.TOLERANCE
    assert model.labels == LABELS and not found.multi_label


@pytest.mark.parametrize("name", architecture_names())
def test_every_architecture_has_a_folder(name: str, tokenizer: Tokenizer, tmp_path: Path):
    from groundup.models import config_for_size

    language = build_model(config_for_size("d1", 300, 16, name, d_model=64))
    model = Classifier(language, LABELS).eval()
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(3))
    save_classifier(tmp_path / "model", model, tokenizer, ClassifierSettings(16, multi_label=True, temperature=1.5))
    again, _, settings = load_classifier_folder(tmp_path / "model")
    ids, lengths = rows(1)
    with torch.no_grad():
        assert torch.equal(again(ids, lengths), model(ids, lengths))
    assert settings.multi_label and settings.temperature == 1.5
    values = read_json(tmp_path / "model" / "config.json")
    # What transformers has no classifier of says so by its model_type, and is not opened there as something else.
    own = str(values["model_type"]).startswith("groundup_")
    assert own == (name in ("rnn", "lstm", "gru", "custom", "mamba", "mamba2"))
    if own:
        with pytest.raises(ValueError, match=r"model_type|model type"):
            transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
