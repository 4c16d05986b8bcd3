"""A model's own beginning of text is put before texts where its files say so, and nowhere else."""

from __future__ import annotations

import json

import pytest

from groundup.tokenization.beginning import adds_bos
from groundup.tokenization.tokenizer import Tokenizer
from groundup.tokenization.training import train_tokenizer


@pytest.fixture(scope="module")
def plain() -> Tokenizer:
    return train_tokenizer(["a text that begins like any other " * 30], vocab_size=280)


def with_template(tokenizer: Tokenizer, first: str) -> Tokenizer:
    """The tokenizer with a template that puts `first` before a text, alone or after other steps."""
    description = json.loads(tokenizer.to_json())
    begin, text = {"SpecialToken": {"id": first, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    special = {first: {"id": first, "ids": [tokenizer.stoi[first]], "tokens": [first]}}
    pair = [begin, text, {"Sequence": {"id": "B", "type_id": 1}}]
    template = {"type": "TemplateProcessing", "single": [begin, text], "pair": pair, "special_tokens": special}
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    description["post_processor"] = {"type": "Sequence", "processors": [byte_level, template]}
    return Tokenizer(json.dumps(description), {k: v for k, v in tokenizer.config.items() if k != "add_bos_token"})


def test_ours_begin_with_their_first_word(plain: Tokenizer) -> None:
    assert not adds_bos(plain)


def test_a_template_that_begins_with_the_beginning_of_text_counts_and_another_does_not(plain: Tokenizer) -> None:
    bos = plain.itos[plain.bos_id]
    other = next(plain.itos[id] for id in sorted(plain.special_ids) if id != plain.bos_id)
    assert adds_bos(with_template(plain, bos))
    assert not adds_bos(with_template(plain, other))


@pytest.mark.parametrize("said", [True, False])
def test_the_setting_goes_before_the_template(plain: Tokenizer, said: bool) -> None:
    for tokenizer in (plain, with_template(plain, plain.itos[plain.bos_id])):
        assert adds_bos(Tokenizer(tokenizer.to_json(), tokenizer.config | {"add_bos_token": said})) is said
