"""The figures of a fit, by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from groundup.tokenization import Tokenizer, train_tokenizer
from groundup.tokenization.measures import fit, total


def words() -> Tokenizer:
    model = {"type": "WordLevel", "vocab": {"[UNK]": 0, "the": 1, "cat": 2, "sat": 3}, "unk_token": "[UNK]"}
    description = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "model": model}
    return Tokenizer(json.dumps(description), {"unk_token": "[UNK]"})


def test_counts():
    used = np.zeros(4, dtype=bool)
    found = fit(words(), ["the cat über", "the the"], used)
    assert (found.n_bytes, found.n_characters, found.n_words, found.n_tokens) == (13 + 7, 12 + 7, 5, 5)
    assert (found.n_unknown, found.unknown_share) == (1, 0.2)
    assert (found.n_ids_used, found.vocabulary_share, used.tolist()) == (3, 0.75, [True, True, True, False])
    assert (found.bytes_per_token, found.tokens_per_word) == (4.0, 1.0)
    assert (found.n_documents, found.n_lossless, found.lossless_share) == (2, 1, 0.5)
    assert found.lost == ("the cat über", "the cat [UNK]")
    assert found.bytes_per_second > 0


def test_a_tokenizer_of_bytes_loses_nothing():
    tokenizer = train_tokenizer(["the cat sat on the mat " * 20], vocab_size=275)
    found = fit(tokenizer, ["the  cat\n", "日本 👍"])
    assert (found.lossless_share, found.lost, found.n_unknown) == (1.0, None, 0)


def test_texts_together():
    used = np.zeros(4, dtype=bool)
    parts = [fit(words(), ["the cat"], used), fit(words(), ["the dog"], used)]
    both = total(parts, int(used.sum()))
    assert (both.n_tokens, both.n_bytes, both.n_unknown, both.n_ids_used) == (4, 14, 1, 3)
    assert both.lost == parts[1].lost
    assert both.tokens_per_word == pytest.approx(1.0)


def test_nothing_divides_by_nothing():
    found = fit(words(), [])
    assert (found.bytes_per_token, found.tokens_per_word, found.unknown_share, found.lossless_share) == (0, 0, 0, 0)
