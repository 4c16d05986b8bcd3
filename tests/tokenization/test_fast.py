"""The fast encoders equal the library, and step aside where that cannot be proved."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from groundup.tokenization import Tokenizer, fast, train_tokenizer
from groundup.tokenization.fast import byte_alphabet, merge_pairs, reference_ids
from groundup.tokenization.patterns import PATTERNS
from groundup.tokenization.special import SPECIAL_TOKENS

fragments = st.sampled_from(
    ["the ", "function", "'s", "'LL", "'ſ", " \n", "\r\n\r\n", "   ", "123", "__init__", "<|endoftext|>", "<0x41>", "é"]
)
odd_text = st.lists(st.one_of(fragments, st.text(st.characters(exclude_categories=["Cs"])))).map("".join)


def test_byte_alphabet_is_the_librarys():
    alphabet = byte_alphabet()
    assert set(alphabet) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(alphabet.values()) == list(range(256))
    shown = "".join(
        piece
        for piece, _ in pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str("é\n ~")
    )
    assert bytes(alphabet[character] for character in shown) == "é\n ~".encode()


def test_merges_are_read_in_both_spellings():
    assert merge_pairs({"merges": ["a b", "ab c"]}) == merge_pairs({"merges": [["a", "b"], ["ab", "c"]]})
    assert merge_pairs({}) == []


@pytest.fixture(scope="module", params=["gigatoken", "tiktoken"])
def library(request):
    """Both fast libraries in turn: `tiktoken` serves where `gigatoken` is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "tiktoken":
            patch.setattr(fast, "gigatoken_is_there", lambda: False)
        else:
            pytest.importorskip("gigatoken")
        yield request.param


@pytest.fixture(scope="module", params=sorted(PATTERNS))
def served(request, library, english) -> Tokenizer:
    """A tokenizer of each pattern as each library serves it."""
    tokenizer = train_tokenizer(english, vocab_size=600, pattern=request.param)
    # gigatoken reads whitespace at the end of a text as llama3 does, which gpt4 does not: the samples find that out.
    not_its_own = request.param in ("gpt4", "none")
    assert tokenizer.library == ("tiktoken" if not_its_own else library)
    return tokenizer


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(odd_text, min_size=1, max_size=4))
def test_fast_byte_pairs_equal_the_library(served, texts):
    expected = [reference_ids(served._reference, text).tolist() for text in texts]
    assert [served._fast(text).tolist() for text in texts] == expected
    served._fast.encode_group(["x" * 200_000])  # past what is watched
    assert [ids.tolist() for ids in served._fast.encode_group(texts)] == expected


def test_fast_byte_pairs_equal_the_library_on_characters_of_every_block(served):
    characters = [
        chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000 and (code < 0x600 or code % 61 == 0)
    ]
    for start in range(0, len(characters), 5000):
        text = " ".join(f"x{c}y1{c}.{c}" for c in characters[start : start + 5000])
        np.testing.assert_array_equal(served._fast(text), reference_ids(served._reference, text))


@pytest.mark.parametrize("byte_fallback", [True, False])
def test_fast_characters_equal_the_library(english, byte_fallback):
    tokenizer = train_tokenizer(english, algorithm="char", byte_fallback=byte_fallback)
    assert tokenizer.is_fast

    @settings(max_examples=200, deadline=None)
    @given(text=odd_text)
    def check(text):
        assert tokenizer._fast(text).tolist() == reference_ids(tokenizer._reference, text).tolist()

    check()


def hand_made(merges: list[tuple[str, str]], **model) -> Tokenizer:
    tokens = [*byte_alphabet(), *("".join(pair) for pair in merges)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    description = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": {token: id for id, token in enumerate(tokens)},
            "merges": [list(pair) for pair in merges],
        }
        | model,
    }
    return Tokenizer(json.dumps(description), {})


def test_merges_that_tiktoken_would_read_otherwise_are_left_to_the_library():
    # "bc" is merged first, so "ab"+"c" can never happen and "abc" stays two tokens; tiktoken would join "a" and "bc".
    tokenizer = hand_made([("b", "c"), ("a", "b"), ("ab", "c")])
    ids = {token: id for token, id in tokenizer._vocabulary.items() if token in ("a", "bc", "abc")}
    assert not tokenizer.is_fast
    assert tokenizer.encode_array("abc" * 10_000).tolist() == [ids["a"], ids["bc"]] * 10_000


@pytest.mark.parametrize("oddity", [{"dropout": 0.1}, {"ignore_merges": True}, {"end_of_word_suffix": "</w>"}])
def test_models_that_merge_otherwise_are_left_to_the_library(oddity):
    assert not hand_made([("b", "c"), ("a", "b"), ("ab", "c")], **oddity).is_fast
    assert not hand_made([("a", "b")], **oddity).is_fast


def test_merges_in_a_good_order_are_fast_and_the_same():
    tokenizer = hand_made([("a", "b"), ("ab", "c")])
    assert tokenizer.is_fast
    assert tokenizer.encode("abcab c") == [257, 256, tokenizer.id_of("Ġ"), tokenizer.id_of("c")]


@pytest.mark.parametrize("run", ["a", " ", "\n", " \n", "-", "7", "é", "ab"])
def test_a_long_unbroken_run_is_encoded_soon_and_exactly(served, run):
    text = run * 100_000 + "x"
    ids = served.encode_array(text)
    assert served.decode(ids) == text
    np.testing.assert_array_equal(ids, reference_ids(served._reference, text))


def test_special_names_stay_ordinary_in_the_fast_path(bpe):
    text = " ".join(SPECIAL_TOKENS.names()) * 2_000
    ids = set(bpe.encode_array(text).tolist())
    assert not ids & bpe.special_ids
