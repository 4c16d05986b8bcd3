"""SentencePiece models trained by the tests, with the options that change how text is read."""

from __future__ import annotations

import io
import pydoc_data.topics

import pytest
import sentencepiece
import transformers

from groundup.tokenization.imports import import_tokenizer

TEXT = [
    *(line for topic in list(pydoc_data.topics.topics.values())[:25] for line in topic.splitlines() if line.strip()),
    *["日本語の文章と、中文的句子。", "Привет, мир! Ελληνικά", "naïve café straße", "नमस्ते दुनिया", "한국어 텍스트"] * 5,
]

OPTIONS = {
    "plain bpe": {"model_type": "bpe"},
    "bpe with bytes": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity"},
    "bpe as llama": {
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "split_digits": True,
        "allow_whitespace_only_pieces": True,
    },
    "bpe with symbols": {
        "model_type": "bpe",
        "user_defined_symbols": ["foobar", "::", "[SEP]"],
        "control_symbols": ["<c>"],
    },
    "bpe without prefix": {"model_type": "bpe", "add_dummy_prefix": False},
    "bpe across words": {"model_type": "bpe", "split_by_whitespace": False},
    "plain unigram": {"model_type": "unigram"},
    "unigram with bytes": {"model_type": "unigram", "byte_fallback": True, "remove_extra_whitespaces": False},
    "unigram with symbols": {"model_type": "unigram", "user_defined_symbols": ["foobar", "[SEP]"]},
    "unigram with suffix": {"model_type": "unigram", "treat_whitespace_as_suffix": True},
}


def train(**options) -> bytes:
    model = io.BytesIO()
    settings = {"vocab_size": 700, "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1} | options
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(TEXT), model_writer=model, **settings)
    return model.getvalue()


@pytest.fixture(scope="session")
def train_model():
    """Trains a model on a little text of many scripts; takes SentencePiece's options, gives the file."""
    return train


@pytest.fixture(scope="session")
def model_text() -> list[str]:
    """The lines the models are trained on."""
    return TEXT


@pytest.fixture(scope="module", params=list(OPTIONS))
def imported(request, models, tmp_path_factory):
    """A model file in three readers: ours, SentencePiece, and transformers with the folder we wrote."""
    folder = tmp_path_factory.mktemp("imported")
    (folder / "some.model").write_bytes(models[request.param])
    ours = import_tokenizer(folder / "some.model", out=folder / "tok")
    theirs = sentencepiece.SentencePieceProcessor(model_proto=models[request.param])
    return ours, theirs, transformers.AutoTokenizer.from_pretrained(folder / "tok")


@pytest.fixture(scope="session")
def models() -> dict[str, bytes]:
    """Model files by what is special about them."""
    return {name: train(**options) for name, options in OPTIONS.items()}
