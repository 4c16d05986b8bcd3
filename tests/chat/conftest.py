"""Tokenizers with the special tokens of the formats, and short ways to write messages."""

from __future__ import annotations

import json
import pydoc_data.topics
from typing import Any

import pytest

from groundup.tokenization import Tokenizer, train_tokenizer

FORMATS = {
    "chatml": (),
    "alpaca": (),
    "llama3": ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "phi": ("<|end|>",),
}


def with_tokens(
    tokenizer: Tokenizer, names: tuple[str, ...] = (), *, flags: dict[str, Any] | None = None, **config: Any
):
    """A tokenizer with more special tokens behind its last id."""
    description = json.loads(tokenizer.to_json())
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    for n, name in enumerate(names):
        token = plain | {"id": tokenizer.vocab_size + n, "content": name} | (flags or {})
        description["added_tokens"].append(token)
    return Tokenizer(json.dumps(description), tokenizer.config | config)


@pytest.fixture(scope="session")
def plain() -> Tokenizer:
    """Ours: end of text, and the tokens of ChatML."""
    return train_tokenizer(list(pydoc_data.topics.topics.values())[:25], vocab_size=500)


@pytest.fixture(scope="session")
def tokenizers(plain: Tokenizer) -> dict[str, Tokenizer]:
    """One for each built-in format, which has its tokens."""
    found = {name: with_tokens(plain, names) for name, names in FORMATS.items()}
    found["llama3"] = with_tokens(plain, FORMATS["llama3"], bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")
    return found
