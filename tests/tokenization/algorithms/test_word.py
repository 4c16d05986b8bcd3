"""The textbooks' tokenizer: words, punctuation, and `[UNK]` for what was not seen."""

from __future__ import annotations

import pytest

from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.tokenization import train_tokenizer

TEXT = "Hello, world! The world is wide; hello again."


def test_unseen_words_are_unknown_and_punctuation_stands_alone():
    tokenizer = train_tokenizer([TEXT], algorithm="word")
    assert tokenizer.decode(tokenizer.encode("Bye, world!")) == "[UNK] , world !"
    assert tokenizer.encode("Bye")[0] == tokenizer.unk_id
    assert tokenizer.decode(tokenizer.encode("world!!  is,\n\nwide")) == "world ! ! is , wide"


def test_ids_are_words_by_frequency_then_the_four_special_tokens():
    tokenizer = train_tokenizer(["b a b c b a"], algorithm="word")
    assert tokenizer.stoi == {"b": 0, "a": 1, "c": 2, "[EOS]": 3, "[BOS]": 4, "[PAD]": 5, "[UNK]": 6}
    assert (tokenizer.algorithm, tokenizer.vocab_size) == ("word", 7)
    assert (tokenizer.eos_id, tokenizer.bos_id, tokenizer.pad_id, tokenizer.unk_id) == (3, 4, 5, 6)


def test_berts_names_by_choice():
    tokenizer = train_tokenizer(["a b"], algorithm="word", special=["[MASK]", "[SEP]", "[CLS]"])
    assert [tokenizer.id_of(name) for name in ("[MASK]", "[SEP]", "[CLS]")] == [6, 7, 8]
    assert tokenizer.config["mask_token"] == "[MASK]"
    assert tokenizer.encode("a [MASK] b", allow_special=True) == [0, 6, 1]


def test_case_is_kept_unless_asked():
    assert train_tokenizer(["The the"], algorithm="word").vocab_size == 2 + 4
    folded = train_tokenizer(["The the ÉTÉ"], algorithm="word", lowercase=True)
    assert list(folded.stoi)[:2] == ["the", "été"]
    assert folded.encode("THE") == [0]


def test_rare_words_are_left_out_and_a_ceiling_is_said():
    assert list(train_tokenizer(["a a b b c"], algorithm="word", min_frequency=2).stoi)[:2] == ["a", "b"]
    warned = []

    class Ear(Reporter):
        def warn(self, text):
            warned.append(text)

    tokenizer = train_tokenizer(["a a a b b c"], algorithm="word", vocab_size=6, reporter=Ear())
    assert list(tokenizer.stoi)[:2] == ["a", "b"]
    assert warned == ["only the 2 most frequent words have an id; the rest is [UNK]"]
    with pytest.raises(GroundupError, match="vocab_size 4 leaves no room for words beside 4 special tokens"):
        train_tokenizer(["a"], algorithm="word", vocab_size=4)
