"""More merges behind the old ones: old ids stay, new tokens are rows of old ones, frequent pairs come first."""

from __future__ import annotations

import json

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.core.errors import GroundupError
from groundup.tokenization import Tokenizer, train_tokenizer
from groundup.tokenization.extension import extend_tokenizer

LAW = ["Die Rechtsfähigkeit des Menschen beginnt mit der Vollendung der Geburt. Der Vertrag ist nichtig. " * 30]


@pytest.fixture(scope="module", params=["gpt2", "qwen2"])
def old(request, english):
    return train_tokenizer(english, vocab_size=600, pattern=request.param)


@pytest.fixture(scope="module")
def extension(old):
    return extend_tokenizer(old, iter(LAW), 40)


def test_every_old_id_stays(old, extension):
    new = extension.tokenizer
    assert (extension.first_id, new.vocab_size, len(extension.old_pieces)) == (600, 640, 40)
    assert new.special_ids == old.special_ids
    assert (new.eos_id, new.pad_id) == (old.eos_id, old.pad_id)
    assert [new.token_of(id) for id in range(600)] == [old.token_of(id) for id in range(600)]
    assert new.encode("<|endoftext|>", allow_special=True) == [old.eos_id]
    assert not new.special_ids & set(new.encode("<|endoftext|><|im_start|>"))


def test_new_tokens_are_learned_from_the_text(old, extension):
    new, text = extension.tokenizer, LAW[0]
    assert len(new.encode(text)) < 0.6 * len(old.encode(text))
    assert set(new.encode(text)) & set(range(600, 640))
    assert new.decode(new.encode(text)) == text
    spelled = [old.decode(pieces) for pieces in extension.old_pieces]
    assert [new.decode([id]) for id in range(600, 640)] == spelled
    assert len(set(spelled)) == 40


odd = st.lists(st.one_of(st.sampled_from(["Vertrag", " der ", "nichtig", "the", " ", "\n"]), st.text())).map("".join)


def test_new_tokens_put_back_give_the_old_ids(old, extension):
    assert extension.tokenizer.is_fast

    @settings(max_examples=200, deadline=None)
    @given(text=odd)
    def check(text):
        try:
            text.encode()
        except UnicodeEncodeError:
            return
        ids = extension.tokenizer.encode(text)
        assert extension.old_ids(ids) == old.encode(text)
        assert extension.tokenizer.decode(ids) == text

    check()


def test_transformers_reads_it(extension, tmp_path):
    extension.tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in (LAW[0][:500], "the statement", "Vertrag<|endoftext|>"):
        assert theirs(text)["input_ids"] == extension.tokenizer.encode(text, allow_special=True)


def test_the_first_merge_is_of_the_most_frequent_pair():
    old = train_tokenizer(["xy " * 50], vocab_size=267)
    extension = extend_tokenizer(old, ["abcabcabc"], 2)
    assert [old.decode(pieces) for pieces in extension.old_pieces] == ["ab", "abc"]
    again = extend_tokenizer(old, ["abcabcabc"], 2)
    assert again.tokenizer.sha256 == extension.tokenizer.sha256


def test_twice_is_the_same_as_once_longer(old):
    once = extend_tokenizer(old, LAW, 20).tokenizer
    twice = extend_tokenizer(extend_tokenizer(old, LAW, 12).tokenizer, LAW, 8).tokenizer
    assert twice.sha256 == once.sha256


def test_characters_gain_the_most_frequent_unseen(char):
    extension = extend_tokenizer(char, ["ßßßöö東"], 2)
    assert [extension.tokenizer.token_of(id) for id in (char.vocab_size, char.vocab_size + 1)] == ["ß", "ö"]
    assert extension.old_pieces == [char.encode("ß"), char.encode("ö")]
    ids = extension.tokenizer.encode("Straße <|endoftext|>")
    assert char.vocab_size in ids
    assert extension.old_ids(ids) == char.encode("Straße <|endoftext|>")
    assert extension.tokenizer.is_fast
    assert extension.tokenizer.special_ids == char.special_ids


def test_sentencepiece_pieces_are_joined_but_never_bytes():
    description = {
        "version": "1.0",
        "added_tokens": [],
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "▁+[^▁]*"}, "behavior": "Isolated", "invert": False},
        "model": {
            "type": "BPE",
            "byte_fallback": True,
            "vocab": {"▁": 0, "a": 1, "b": 2, "▁a": 3} | {f"<0x{byte:02X}>": 4 + byte for byte in range(256)},
            "merges": [["▁", "a"]],
        },
    }
    old = Tokenizer(json.dumps(description), {})
    extension = extend_tokenizer(old, ["ab ab ab 東東東東", "ab"], 2)
    assert [extension.tokenizer.token_of(260 + i) for i in range(2)] == ["ab", "▁ab"]
    with pytest.raises(GroundupError, match="the text has only 2 pairs seen twice, not 3; ask for --add 2 or fewer"):
        extend_tokenizer(old, ["ab ab ab 東東東東", "ab"], 3)


def test_what_cannot_be_extended_says_why(old, char):
    def with_model(model):
        return Tokenizer(json.dumps({"version": "1.0", "added_tokens": [], "model": model}), {})

    words = {"vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}
    pieces = words | {"type": "WordPiece", "max_input_chars_per_word": 9, "continuing_subword_prefix": "##"}
    with pytest.raises(GroundupError, match="a unigram tokenizer cannot be extended: its pieces share"):
        extend_tokenizer(with_model({"type": "Unigram", "unk_id": 0, "vocab": [["a", -1.0]]}), LAW, 1)
    with pytest.raises(GroundupError, match="a wordpiece tokenizer cannot be extended: it takes the longest"):
        extend_tokenizer(with_model(pieces), LAW, 1)
    with pytest.raises(GroundupError, match=r"a word(level)? tokenizer cannot be extended"):
        extend_tokenizer(with_model({"type": "WordLevel"} | words), LAW, 1)
    with pytest.raises(GroundupError, match="the text has no pairs seen twice, so there is nothing to add"):
        extend_tokenizer(old, [""], 5)
    with pytest.raises(GroundupError, match="0 entries cannot be added"):
        extend_tokenizer(old, LAW, 0)
