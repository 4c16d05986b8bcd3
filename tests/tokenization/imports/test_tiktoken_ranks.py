"""Ranks become merges that make the same tokens, and what a rank file does not say is asked for."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.core.errors import GroundupError
from groundup.tokenization import train_tokenizer
from groundup.tokenization.fast import byte_alphabet
from groundup.tokenization.imports import import_tokenizer
from groundup.tokenization.imports.tiktoken_ranks import looks_like_ranks, ranks_description


def rank_file(tokens: list[bytes]) -> bytes:
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens))


BYTES = [bytes([byte]) for byte in range(256)]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """A trained tokenizer and its learned tokens as a rank file."""
    import pydoc_data.topics

    trained = train_tokenizer(list(pydoc_data.topics.topics.values())[:10], vocab_size=900, pattern="gpt2")
    alphabet = byte_alphabet()
    learned = [trained.token_of(id) for id in range(trained.vocab_size) if id not in trained.special_ids]
    path = tmp_path_factory.mktemp("ranks") / "mine.tiktoken"
    path.write_bytes(rank_file([bytes(alphabet[character] for character in token) for token in learned]))
    return trained, path


def test_merges_are_found_again(ranks):
    trained, path = ranks
    imported = import_tokenizer(path, pattern="gpt2", special=["<|end|>"])
    assert imported.is_fast
    assert (imported.pattern, imported.vocab_size, imported.special_ids) == ("gpt2", 892, {891})

    @settings(max_examples=200, deadline=None)
    @given(text=st.text(st.characters(exclude_categories=["Cs"])))
    def check(text):
        assert imported.encode(text) == trained.encode(text)
        assert imported.decode(imported.encode(text)) == text

    check()
    assert imported.encode("<|end|>", allow_special=True) == [891]
    assert 891 not in imported.encode("<|end|>")


def test_an_unknown_file_asks_for_its_pattern(ranks):
    with pytest.raises(
        GroundupError, match=r"mine\.tiktoken holds 891 tiktoken ranks but is none .* give --pattern, one"
    ):
        import_tokenizer(ranks[1])
    with pytest.raises(GroundupError, match="unknown pre-splitting pattern 'gtp2'; did you mean 'gpt2'"):
        import_tokenizer(ranks[1], pattern="gtp2")


def test_a_token_no_merge_reaches_is_found_as_a_whole_word():
    """tiktoken looks whole words up first; a token of three bytes without a part of two is reached in no other way."""
    data = rank_file([*BYTES, b"abc"])
    description, _, theirs = ranks_description(data, Path("odd.tiktoken"), pattern="gpt2")
    import json

    from groundup.tokenization import Tokenizer

    ours = Tokenizer(json.dumps(description), {})
    assert description["model"]["ignore_merges"]
    for text in ("abc", "xabc", "abc abc", " abc"):
        assert ours.encode(text) == theirs(text)


def test_what_is_no_rank_file_is_refused():
    assert looks_like_ranks(rank_file(BYTES))
    assert not looks_like_ranks(b"some words\nand more 3 words\n")
    with pytest.raises(GroundupError, match=r"x, line 2: b'not base64' is not a token in base64 and its rank"):
        ranks_description(b"YQ== 0\nnot base64\n", Path("x"), pattern="gpt2")
    with pytest.raises(GroundupError, match="no token for byte 7 and 0 others"):
        ranks_description(rank_file([byte for byte in BYTES if byte != b"\x07"]), Path("x"), pattern="gpt2")
    with pytest.raises(GroundupError, match="two tokens have the same rank"):
        ranks_description(b"YQ== 0\nYg== 0\n", Path("x"), pattern="gpt2")
