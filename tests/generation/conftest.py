"""Tiny models with decided opinions, and small tokenizers, for the room's tests."""

from __future__ import annotations

import pydoc_data.topics

import pytest
import torch

from groundup.generation.text_model import TextModel
from groundup.models import LanguageModel, build_model, config_for_size
from groundup.tokenization import Tokenizer, train_tokenizer

CONTEXT = 24
VOCAB = 400


def decided_model(architecture: str, *, vocab_size: int = VOCAB, context_length: int = CONTEXT, seed: int = 1):
    """Random weights so large that the next token is seldom a close call (a fresh model finds all equally likely)."""
    sizes = {"d_model": 32, "d_head": 8, "n_layers": 2}
    model = build_model(config_for_size("d2", vocab_size, context_length, architecture, **sizes))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.5, generator=generator)
    return model.eval()


@pytest.fixture(scope="session", params=["gpt2", "qwen3"])
def model(request) -> LanguageModel:
    return decided_model(request.param)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Bytes and a few merges: 400 ids, so random models write many halves of characters."""
    return train_tokenizer(list(pydoc_data.topics.topics.values())[:10], vocab_size=VOCAB)


@pytest.fixture(scope="session")
def writer(model, tokenizer) -> TextModel:
    return TextModel(model, tokenizer)
