"""What every tokenizer algorithm promises; the algorithms are discovered from the folder `tokenization/algorithms`."""

from __future__ import annotations

import functools
import pydoc_data.topics

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundup.core.errors import GroundupError
from groundup.tokenization import SPECIAL_TOKENS, Tokenizer, algorithm_names, train_tokenizer
from groundup.tokenization.algorithms import algorithm as algorithm_module
from groundup.tokenization.special import BERT_TOKENS, WORD_TOKENS

TEXTS = [
    *list(pydoc_data.topics.topics.values())[:20],
    "Ελληνικά, русский, العربية, हिन्दी, 日本語, 한국어 👍🏽 é e\u0301",
]

# These read what they have not seen as unknown, and forget spaces; the others give every text back.
LOSSY = {"word": WORD_TOKENS, "wordpiece": BERT_TOKENS}

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
    "[UNK] [CLS]a[SEP] [MASK][PAD] [BOS] x [EOS]",
]

# The fixtures give one tokenizer for all examples; none is changed by its use.
ANEW = [HealthCheck.function_scoped_fixture]

text_of_people = st.lists(
    st.one_of(
        st.sampled_from([*NASTY[:9], *SPECIAL_TOKENS.names(), "the ", "'s", "日本", "<|", "|>"]),
        st.text(st.characters(exclude_categories=["Cs"])),
    )
).map("".join)


@functools.cache
def trained(algorithm: str) -> Tokenizer:
    return train_tokenizer(TEXTS, algorithm=algorithm, vocab_size=700)


@pytest.fixture(params=algorithm_names())
def algorithm(request) -> str:
    return request.param


@pytest.fixture
def tokenizer(algorithm) -> Tokenizer:
    return trained(algorithm)


@pytest.fixture(params=[name for name in algorithm_names() if name not in LOSSY])
def lossless(request) -> Tokenizer:
    return trained(request.param)


@pytest.fixture
def names(algorithm) -> list[str]:
    return LOSSY.get(algorithm, SPECIAL_TOKENS).names()


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_nasty_text_comes_back(lossless, text):
    assert lossless.decode(lossless.encode(text)) == text


@settings(max_examples=300, deadline=None, suppress_health_check=ANEW)
@given(text=text_of_people)
def test_any_text_comes_back(lossless, text):
    ids = lossless.encode(text)
    assert lossless.decode(ids) == text
    assert lossless.token_bytes()[ids].sum() == len(text.encode())


@settings(max_examples=300, deadline=None, suppress_health_check=ANEW)
@given(text=text_of_people)
def test_any_text_has_ids_and_never_becomes_special(tokenizer, text):
    ids = tokenizer.encode(text)
    assert not set(ids) & (tokenizer.special_ids - {tokenizer.unk_id})
    assert all(0 <= id < tokenizer.vocab_size for id in ids)
    assert tokenizer.encode_array(text).tolist() == ids
    stream = tokenizer.stream()
    assert "".join([*map(stream.push, ids), stream.flush()]) == tokenizer.decode(ids)


def test_nothing_is_unknown_where_bytes_stand_in(lossless):
    for text in NASTY:
        assert lossless.unk_id not in lossless.encode(text)


@settings(max_examples=200, deadline=None, suppress_health_check=ANEW)
@given(text=text_of_people, near=st.integers(0, 80))
def test_a_safe_cut_changes_no_id(tokenizer, text, near):
    cut = tokenizer.safe_cut(text, near)
    assert tokenizer.encode(text[:cut]) + tokenizer.encode(text[cut:]) == tokenizer.encode(text)


def test_special_tokens_are_made_only_when_asked(tokenizer, names):
    assert tokenizer.special_ids == {tokenizer.id_of(name) for name in names}
    assert sorted(tokenizer.special_ids) == list(range(tokenizer.vocab_size - len(names), tokenizer.vocab_size))
    for name in names:
        id = tokenizer.id_of(name)
        assert tokenizer.encode(name, allow_special=True) == [id]
        assert id not in set(tokenizer.encode(name)) - {tokenizer.unk_id}
        assert tokenizer.decode([id]) == name


def test_every_role_has_its_token(tokenizer):
    for role in (tokenizer.eos_id, tokenizer.bos_id, tokenizer.pad_id, tokenizer.unk_id):
        assert role in tokenizer.special_ids


def test_more_special_tokens_come_last_and_stay_out_of_text(algorithm):
    tokenizer = train_tokenizer(TEXTS, algorithm=algorithm, vocab_size=700, special=["[NOTE]", "<|end-of|>"])
    assert [tokenizer.id_of(name) for name in ("[NOTE]", "<|end-of|>")] == [
        tokenizer.vocab_size - 2,
        tokenizer.vocab_size - 1,
    ]
    assert tokenizer.encode("[NOTE]", allow_special=True) == [tokenizer.vocab_size - 2]
    assert tokenizer.vocab_size - 2 not in tokenizer.encode("[NOTE] a[NOTE]b")


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


def test_a_fast_path_serves_those_that_have_one(algorithm, tokenizer):
    assert tokenizer.is_fast == (algorithm in ("bpe", "char"))


def test_streaming_gives_whole_characters_and_all_of_them(lossless):
    for text in NASTY:
        stream = lossless.stream()
        parts = [stream.push(id) for id in lossless.encode(text)]
        assert "".join(parts) == text
        assert stream.flush() == ""


def test_strings_and_ids_are_each_others_reverse(tokenizer):
    assert list(tokenizer.itos) == list(range(tokenizer.vocab_size))
    assert all(tokenizer.itos[id] == token for token, id in tokenizer.stoi.items())


def test_every_setting_an_algorithm_names_is_taken_and_others_are_refused(algorithm):
    asked = {"pattern": "gpt2", "byte_fallback": True, "lowercase": True, "min_frequency": 3}
    options = algorithm_module(algorithm).OPTIONS
    for name, value in asked.items():
        if name in options:
            train_tokenizer(TEXTS, algorithm=algorithm, vocab_size=450, exact=False, **{name: value})
        else:
            with pytest.raises(GroundupError, match=f"{name}=.* has no effect on algorithm='{algorithm}'; it is for "):
                train_tokenizer(TEXTS, algorithm=algorithm, vocab_size=450, **{name: value})
