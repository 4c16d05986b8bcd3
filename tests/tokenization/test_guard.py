"""Names of special tokens in a model's own vocabulary are out of reach of text, in every kind of model."""

from __future__ import annotations

import json

import pytest

from groundup.tokenization import Tokenizer
from groundup.tokenization.guard import is_markup, vocabulary_of

FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


def made(model: dict, special: dict[str, int], **parts) -> Tokenizer:
    added = [{"id": id, "content": name} | FLAGS for name, id in special.items()]
    return Tokenizer(json.dumps({"version": "1.0", "added_tokens": added, "model": model} | parts), {})


LETTERS = ["<", "/", "s", ">", "a"]


def unigram() -> Tokenizer:
    vocab = [["<unk>", 0.0], ["</s>", 0.0], *([letter, -2.0] for letter in LETTERS)]
    return made({"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": False}, {"<unk>": 0, "</s>": 1})


def byte_pairs() -> Tokenizer:
    tokens = ["<unk>", "</s>", *LETTERS, "</", "s>"]
    merges = [["<", "/"], ["s", ">"], ["</", "s>"]]
    vocab = {token: id for id, token in enumerate(tokens)}
    return made({"type": "BPE", "vocab": vocab, "merges": merges, "unk_token": "<unk>"}, {"<unk>": 0, "</s>": 1})


def words() -> Tokenizer:
    vocab = {"<unk>": 0, "</s>": 1, "a": 2}
    return made(
        {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
        {"<unk>": 0, "</s>": 1},
        pre_tokenizer={"type": "WhitespaceSplit"},
    )


@pytest.mark.parametrize("make", [unigram, byte_pairs, words])
def test_a_name_in_text_is_letters(make):
    tokenizer = make()
    for text in ("</s>", "a</s>a", "</s></s>", "a </s>"):
        assert 1 not in tokenizer.encode(text)
        assert 1 in tokenizer.encode(text, allow_special=True)
    assert tokenizer.vocab_size == len(vocabulary_of(json.loads(tokenizer.to_json())))
    assert tokenizer.decode([1]) == "</s>"


def test_a_run_of_unknown_letters_that_spells_a_name_is_unknown():
    """The library joins unknown letters, then looks the joined text up in the vocabulary again."""
    tokenizer = made(
        {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["</s>", 0.0], ["a", -1.0]]}, {"</s>": 1}
    )
    assert tokenizer.encode("a</s>a") == [2, 0, 2]


def test_what_text_can_say_is_unchanged():
    assert unigram().encode("a/a") == [6, 3, 6]
    assert byte_pairs().encode("</a") == [7, 6]
    assert words().encode("a b a") == [2, 0, 2]


def test_a_special_letter_stays_a_letter():
    tokenizer = made({"type": "BPE", "vocab": {"!": 0, "a": 1}, "merges": []}, {"!": 0})
    assert tokenizer.encode("a!") == [1, 0]


def test_markup_is_known_by_its_look():
    assert [is_markup(name) for name in ("<think>", "[INST]", "foo", "<", "a>")] == [True, True, False, False, False]
