"""Small trained tokenizers, made once for the room's tests."""

from __future__ import annotations

import pydoc_data.topics

import pytest

from groundup.tokenization import Tokenizer, train_tokenizer


@pytest.fixture(scope="session")
def english() -> list[str]:
    """Real English text that every Python carries."""
    return list(pydoc_data.topics.topics.values())[:25]


@pytest.fixture(scope="session", params=["gpt2", "qwen2"])
def bpe(request, english) -> Tokenizer:
    return train_tokenizer(english, vocab_size=600, pattern=request.param)


@pytest.fixture(scope="session")
def char(english) -> Tokenizer:
    return train_tokenizer(english, algorithm="char")


@pytest.fixture(scope="session", params=["bpe", "char"])
def tokenizer(request, english) -> Tokenizer:
    return train_tokenizer(english, algorithm=request.param, vocab_size=600)
