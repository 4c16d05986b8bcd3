"""The optional encoder is watched, renewed, safe in threads, and gives way at the first difference."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from groundup.tokenization import fast_gigatoken, train_tokenizer
from groundup.tokenization.fast import reference_ids
from groundup.tokenization.fast_gigatoken import Gigatoken
from groundup.tokenization.patterns import PATTERNS

pytest.importorskip("gigatoken")


@pytest.fixture(scope="module")
def tokenizer(english):
    return train_tokenizer(english, vocab_size=600)


def made(tokenizer, encode_slowly, encode_else) -> Gigatoken:
    return Gigatoken(json.loads(tokenizer._json), PATTERNS["qwen2"], encode_slowly, encode_else)


def test_it_is_compared_with_the_reference_on_what_passes_by_and_then_left_alone(tokenizer, english, monkeypatch):
    monkeypatch.setattr(fast_gigatoken, "_WATCHED", 3_000)
    seen = []

    def slowly(text):
        seen.append(len(text))
        return reference_ids(tokenizer._reference, text)

    encoder = made(tokenizer, slowly, None)
    texts = [text[:1000] for text in english[:6]]
    assert [encoder.encode(text).tolist() for text in texts] == [tokenizer.encode(text) for text in texts]
    assert seen == [1000, 1000, 1000]
    assert [ids.tolist() for ids in encoder.encode_group(texts)] == [tokenizer.encode(text) for text in texts]
    assert seen == [1000, 1000, 1000]


def test_at_the_first_difference_the_reference_is_right_and_another_serves(tokenizer):
    calls = []

    def slowly(text):
        return np.array([1, 2, 3], dtype=np.uint32)

    def other(text):
        calls.append(text)
        return np.array([7], dtype=np.uint32)

    encoder = made(tokenizer, slowly, other)
    assert encoder.encode("a text").tolist() == [1, 2, 3]
    assert not encoder.is_trusted
    assert encoder.encode("next").tolist() == [7]
    assert [ids.tolist() for ids in encoder.encode_group(["a", "b"])] == [[7], [7]]
    assert calls == ["next", "a", "b"]


def test_it_is_made_anew_after_so_much_text(tokenizer, monkeypatch):
    monkeypatch.setattr(fast_gigatoken, "_RENEWED_AFTER", 5_000)
    encoder = made(tokenizer, lambda text: reference_ids(tokenizer._reference, text), None)
    [(first, _)] = encoder._idle
    encoder.encode("x" * 4_000)
    assert encoder._idle == [(first, 1_000)]
    encoder.encode_group(["x" * 500, "y" * 500])
    assert encoder._idle == []
    encoder.encode("y")
    [(second, left)] = encoder._idle
    assert second is not first
    assert left == 4_999


def test_groups_and_threads_give_every_text_its_ids(tokenizer, english):
    encoder = made(tokenizer, lambda text: reference_ids(tokenizer._reference, text), None)
    encoder.encode("x" * 200_000)
    texts = ["", *english, "\n", "", "日本語"]
    expected = [tokenizer.encode(text) for text in texts]
    assert [ids.tolist() for ids in encoder.encode_group(texts)] == expected
    assert encoder.encode_group([]) == []
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(encoder.encode_group, [texts] * 12):
            assert [ids.tolist() for ids in found] == expected
            assert all(ids.dtype == np.uint32 for ids in found)


def test_a_pattern_it_does_not_know_is_refused_by_it(tokenizer):
    description = json.loads(tokenizer._json)
    description["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "[abc]+"
    with pytest.raises((ValueError, RuntimeError)):
        Gigatoken(description, PATTERNS["qwen2"], None, None)
