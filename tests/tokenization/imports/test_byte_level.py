"""One description of byte pairs: it opens, splits as asked, keeps ids with gaps before the special tokens."""

from __future__ import annotations

import json

import pytest
import tokenizers

from groundup.tokenization.fast import byte_alphabet
from groundup.tokenization.imports.byte_level import GPT2_SPLIT, added_token, byte_level_description, split_by
from groundup.tokenization.patterns import PATTERNS, find_pattern

LETTERS = {letter: id for id, letter in enumerate(byte_alphabet())}
VOCAB = LETTERS | {"ab": 256, "12": 257, "<|b|>": 300, "<|a|>": 301}


def described(pre_tokenizer, **settings):
    added = [added_token(300, "<|b|>"), added_token(301, "<|a|>")]
    return byte_level_description(VOCAB, [["a", "b"], ["1", "2"]], added, pre_tokenizer, **settings)


@pytest.mark.parametrize(
    ("split", "ids"),
    [(GPT2_SPLIT, [256, 257]), (split_by(PATTERNS["qwen2"].regex), [256, LETTERS["1"], LETTERS["2"]])],
)
def test_words_are_split_as_asked(split, ids):
    description = described(split)
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(description))
    assert tokenizer.encode("ab12").ids == ids
    assert tokenizer.encode("<|b|>ab<|a|>").ids == [300, 256, 301]
    assert tokenizer.decode(ids) == "ab12"
    assert find_pattern(description["pre_tokenizer"]) is PATTERNS["gpt2" if split is GPT2_SPLIT else "qwen2"]


def test_special_tokens_are_listed_by_id_and_whole_words_come_first_by_choice():
    description = described(GPT2_SPLIT, ignore_merges=True)
    assert [token["id"] for token in description["added_tokens"]] == [300, 301]
    assert all(token["special"] and not token["normalized"] for token in description["added_tokens"])
    assert description["model"]["ignore_merges"]
    assert not described(GPT2_SPLIT)["model"]["ignore_merges"]
