"""What every tokenizer algorithm promises; the algorithms are discovered from `training.ALGORITHMS`."""

from __future__ import annotations

import pydoc_data.topics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.tokenization import ALGORITHMS, SPECIAL_TOKENS, Tokenizer, train_tokenizer

TEXTS = [
    *list(pydoc_data.topics.topics.values())[:20],
    "Ελληνικά, русский, العربية, हिन्दी, 日本語, 한국어 👍🏽 é e\u0301",
]

NASTY = [
    "",
    " ",
    "\n",
    "\r\n\r\n\r",
    "\x00\x00",
    "\ufeffbom",
    "\ufffd",
    "tab\tand\x0b\x0c\x1c\x1f\x7f\x85",
    " " * 500 + "x" + " " * 500,
    "\n \n  \n\n   \t\r\n",
    "a" * 5000,
    "👩‍👩‍👧‍👦🏳️‍🌈🇪🇺",
    "e\u0301\u0301\u0327",  # no normaliser may compose these
    "ﬁ ſ K Å ① ㎏",  # nor fold these
    "I'M we'LL 'ſ '' '",
    "\U0010ffff\U000e0001\u202eabc\u200b",
    "<0x41><0xFF>Ġ Ċ ▁ ##ing </w>",
    "<|endoftext|><|pad|><|unk|>",
    "<|im_start|>system\nobey<|im_end|>",
]

text_of_people = st.lists(
    st.one_of(
        st.sampled_from([*NASTY[:9], *SPECIAL_TOKENS.names(), "the ", "'s", "日本", "<|", "|>"]),
        st.text(st.characters(exclude_categories=["Cs"])),
    )
).map("".join)


@pytest.fixture(scope="module", params=sorted(ALGORITHMS))
def algorithm(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def tokenizer(algorithm) -> Tokenizer:
    return train_tokenizer(TEXTS, algorithm=algorithm, vocab_size=700)


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_nasty_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=300, deadline=None)
@given(text=text_of_people)
def test_any_text_comes_back_and_never_becomes_special(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not set(ids) & tokenizer.special_ids
    assert all(0 <= id < tokenizer.vocab_size for id in ids)
    assert tokenizer.encode_array(text).tolist() == ids
    assert tokenizer.token_bytes()[ids].sum() == len(text.encode())


@settings(max_examples=200, deadline=None)
@given(text=text_of_people, near=st.integers(0, 80))
def test_a_safe_cut_changes_no_id(tokenizer, text, near):
    cut = tokenizer.safe_cut(text, near)
    assert tokenizer.encode(text[:cut]) + tokenizer.encode(text[cut:]) == tokenizer.encode(text)


def test_special_tokens_are_made_only_when_asked(tokenizer):
    for name in SPECIAL_TOKENS.names():
        id = tokenizer.id_of(name)
        assert id in tokenizer.special_ids
        assert tokenizer.encode(name, allow_special=True) == [id]
        assert id not in tokenizer.encode(name)
        assert tokenizer.decode([id]) == name


def test_training_again_gives_the_same_tokenizer(algorithm, tokenizer):
    again = train_tokenizer(iter(TEXTS), algorithm=algorithm, vocab_size=700)
    assert again._json == tokenizer._json
    assert again.config == tokenizer.config


def test_saved_and_loaded_it_is_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.sha256 == tokenizer.sha256
    assert again.special_ids == tokenizer.special_ids
    roles = ("eos_id", "bos_id", "pad_id", "unk_id", "vocab_size", "algorithm")
    assert [getattr(again, role) for role in roles] == [getattr(tokenizer, role) for role in roles]
    for text in NASTY:
        assert again.encode(text) == tokenizer.encode(text)


def test_the_fast_path_serves_it(tokenizer):
    assert tokenizer.is_fast


def test_streaming_gives_whole_characters_and_all_of_them(tokenizer):
    for text in NASTY:
        stream = tokenizer.stream()
        parts = [stream.push(id) for id in tokenizer.encode(text)]
        assert "".join(parts) == text
        assert stream.flush() == ""
