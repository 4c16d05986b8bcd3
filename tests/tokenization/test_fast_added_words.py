"""Texts with added words have the reference's ids, and what stands between them is encoded fast."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.tokenization import Tokenizer, train_tokenizer
from groundup.tokenization.fast_added_words import can_stand_apart

WORDS = ["  ", "   ", "     ", "of the", "<b>", "é"]
pieces = st.sampled_from([*WORDS, " ", "\n", "a", "of", " the", "thé", "e\u0301", "<", "12", "日本", "<|endoftext|>"])


def with_words(tokenizer: Tokenizer, words: list[str], **flags) -> Tokenizer:
    description = json.loads(tokenizer._json)
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False} | flags
    description["added_tokens"] += [
        {"id": tokenizer.vocab_size + i, "content": word, **plain} for i, word in enumerate(words)
    ]
    description["normalizer"] = {"type": "NFC"}
    return Tokenizer(json.dumps(description), tokenizer.config)


@pytest.fixture(scope="module")
def bpe(english) -> Tokenizer:
    return train_tokenizer(english, vocab_size=500, pattern="gpt2")


@pytest.mark.parametrize("normalized", [True, False])
def test_ids_are_those_of_the_reference(bpe, normalized):
    tokenizer = with_words(bpe, WORDS, normalized=normalized)
    encode = tokenizer._fast
    assert encode is not None

    @settings(max_examples=300, deadline=None)
    @given(texts=st.lists(st.lists(pieces, max_size=12).map("".join), max_size=4))
    def check(texts):
        for text, ids in zip(texts, encode.encode_group(texts), strict=True):
            assert np.array_equal(ids, tokenizer._slow(text)), text
            assert np.array_equal(encode(text), ids)

    check()
    assert encode("one of the  two").tolist().count(bpe.vocab_size + WORDS.index("of the")) == 1


@pytest.mark.parametrize("flag", ["single_word", "lstrip", "rstrip"])
def test_words_that_look_at_their_neighbours_are_left_to_the_reference(bpe, flag):
    assert not with_words(bpe, ["of the"], **{flag: True}).is_fast
    assert not can_stand_apart([{"content": "a", flag: True}])


def test_words_looked_for_at_two_times_are_left_to_the_reference():
    assert not can_stand_apart([{"content": "a", "normalized": True}, {"content": "ab", "normalized": False}])
    assert can_stand_apart([{"content": "a", "normalized": True}, {"content": "ab", "normalized": True}])


@pytest.mark.shared_data
def test_gpt_neox_is_fast_and_exact(shared_data):
    tokenizer = Tokenizer.load(shared_data / "tokenizers" / "gpt_neox_20B_tokenizer.json")
    assert (tokenizer.is_fast, tokenizer.pattern) == (True, "gpt2")
    for name in ("python313_pydoc_topics.txt", "wagahaiwa_nekodearu_ja.txt"):
        text = (shared_data / "corpora" / name).read_text(encoding="utf-8")[:60_000]
        assert np.array_equal(tokenizer.encode_array(text), tokenizer._slow(text))
