"""Likeliest pieces over the whole text, bytes for the rest, and no text that reads as a name."""

from __future__ import annotations

import json

import pytest

from groundup.core.errors import GroundupError
from groundup.tokenization import train_tokenizer
from groundup.tokenization.patterns import PATTERNS


@pytest.fixture(scope="module")
def tokenizer(english):
    return train_tokenizer(english, algorithm="unigram", vocab_size=800)


def test_pieces_hold_their_spaces_and_frequent_words_are_whole(tokenizer):
    assert [tokenizer.itos[id] for id in tokenizer.encode("of the")] == ["of", " the"]
    assert tokenizer.decode(tokenizer.encode(" ▁x")) == " ▁x"


def test_what_no_piece_covers_is_spelled_by_its_bytes(tokenizer):
    assert tokenizer.encode("한") == list("한".encode())
    assert [tokenizer.itos[id] for id in tokenizer.encode("é")] == ["<0xC3>", "<0xA9>"]


def test_names_of_bytes_and_special_tokens_are_never_read_as_such(tokenizer):
    named = set(range(256)) | tokenizer.special_ids
    for text in ("<0x41>", "<0xFF><0x00>", "x<|endoftext|>y", "<|unk|>", "<|im_start|>"):
        assert not set(tokenizer.encode(text)) & named
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_pieces_stay_inside_the_words_of_the_pattern(english):
    for name in ("gpt2", "qwen2"):
        tokenizer = train_tokenizer(english, algorithm="unigram", vocab_size=700, pattern=name)
        split = json.loads(tokenizer._json)["pre_tokenizer"]
        assert split["pattern"] == {"Regex": PATTERNS[name].regex}
    assert not [piece for piece, id in tokenizer.stoi.items() if id >= 256 and piece.strip() and " " in piece[1:]]


def test_sizes_are_exact_or_refused(english, tokenizer):
    assert tokenizer.vocab_size == 800
    with pytest.raises(
        GroundupError, match="vocab_size 300 is too small: 256 bytes, 95 ASCII characters and 9 special"
    ):
        train_tokenizer(english, algorithm="unigram", vocab_size=300)
    with pytest.raises(
        GroundupError, match=r"vocab_size 50000 is too large for this text: only (\d+) tokens"
    ) as caught:
        train_tokenizer(english[:1], algorithm="unigram", vocab_size=50_000)
    could = int(str(caught.value).split("only ")[1].split()[0])
    assert train_tokenizer(english[:1], algorithm="unigram", vocab_size=could).vocab_size == could


def test_more_characters_than_room_are_spelled_by_bytes():
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 3000)))
    tokenizer = train_tokenizer([text, "the common words " * 50], algorithm="unigram", vocab_size=700, exact=False)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode(text[-1]) == list(text[-1].encode())
