"""Texts in, labels out: in order, whatever stands beside a text; the temperature and the threshold do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from groundup.checkpoints.classifier_folder import ClassifierSettings, save_classifier
from groundup.checkpoints.model_folder import save_model
from groundup.core.errors import GroundupError
from groundup.generation.text_classifier import TextClassifier, load_classifier, logits_of
from groundup.generation.text_model import load
from groundup.models import build_model, config_for_size
from groundup.models.classifier import Classifier
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer

TEXTS = ["the quick fox", "a dog", "jumps over the lazy dog and sleeps and sleeps", "fox", "dog dog dog dog dog"] * 3


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


def test_answers_are_those_of_each_text_alone(classifier: TextClassifier):
    together = classifier.predict(TEXTS)
    for text, answer in zip(TEXTS, together, strict=True):
        [alone] = classifier.predict(text)
        assert alone.labels == answer.labels == (max(answer.probabilities, key=answer.probabilities.__getitem__),)
        assert answer.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.confidence == answer.probabilities[answer.label]
    assert len({answer.label for answer in together}) > 1


def test_the_temperature_divides_the_logits(parts):
    model, tokenizer = parts
    logits = torch.from_numpy(logits_of(model, [torch.tensor(tokenizer.encode(TEXTS[0])).numpy()]))[0].double()
    [answer] = TextClassifier(model, tokenizer, ClassifierSettings(32, temperature=2.5)).predict([TEXTS[0]])
    assert list(answer.probabilities.values()) == pytest.approx((logits / 2.5).softmax(0).tolist(), abs=1e-6)


def test_several_labels_are_all_above_the_threshold(parts):
    model, tokenizer = parts
    classifier = TextClassifier(model, tokenizer, ClassifierSettings(32, multi_label=True, threshold=0.4))
    sizes = set()
    for answer in classifier.predict(TEXTS):
        assert answer.labels == tuple(name for name, p in answer.probabilities.items() if p >= 0.4)
        assert answer.label == "|".join(answer.labels)
        sizes.add(len(answer.labels))
    assert len(sizes) > 1


def test_long_texts_are_cut_and_counted(parts):
    model, tokenizer = parts
    short = TextClassifier(model, tokenizer, ClassifierSettings(3))
    whole = TextClassifier(model, tokenizer, ClassifierSettings(3, keep="end"))
    text = "the quick brown fox"
    ids = tokenizer.encode(text)
    begin, end = (tokenizer.decode(part) for part in (ids[:3], ids[-3:]))
    assert short.predict(text)[0].probabilities == pytest.approx(short.predict(begin)[0].probabilities, abs=1e-6)
    assert whole.predict(text)[0].probabilities != pytest.approx(short.predict(text)[0].probabilities, abs=1e-4)
    assert whole.predict(end)[0].probabilities == pytest.approx(whole.predict(text)[0].probabilities, abs=1e-6)
    assert short.n_cut == 2


def test_an_empty_text_is_refused_by_its_number(classifier: TextClassifier):
    with pytest.raises(GroundupError, match="text 2 is empty"):
        classifier.predict(["fox", " "])


def test_a_folder_is_opened_as_what_it_is(parts, tmp_path: Path):
    model, tokenizer = parts
    save_classifier(tmp_path / "run" / "model", model, tokenizer, ClassifierSettings(32, temperature=2.0))
    opened = load_classifier(tmp_path / "run")
    assert opened.labels == ("a", "b", "c") and opened.settings.temperature == 2.0
    assert opened.predict("a dog") == TextClassifier(model, tokenizer, ClassifierSettings(32, temperature=2.0)).predict(
        "a dog"
    )
    with pytest.raises(GroundupError, match="holds a classifier, which tells labels"):
        load(tmp_path / "run")
    with pytest.raises(GroundupError, match="exactly one label"):
        load_classifier(tmp_path / "run", threshold=0.3)
    save_model(tmp_path / "language", build_model(config_for_size("d1", 290, 64, "llama", d_model=64)), tokenizer)
    with pytest.raises(GroundupError, match="a language model, no classifier"):
        load_classifier(tmp_path / "language")
    with pytest.raises(GroundupError, match="does not exist"):
        load_classifier(tmp_path / "nothing")
