"""BERT's pieces: what they look like, what they lose, and that a run does not depend on chance."""

from __future__ import annotations

import subprocess
import sys

import pytest

from groundup.core.errors import GroundupError
from groundup.tokenization import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer(english):
    return train_tokenizer(english, algorithm="wordpiece", vocab_size=800)


def test_words_are_cut_into_a_beginning_and_inner_pieces(tokenizer):
    pieces = [tokenizer.itos[id] for id in tokenizer.encode("Functions, unbound!")]
    assert "".join(piece.removeprefix("##") for piece in pieces) == "functions,unbound!"
    assert pieces[0] == "functions" or pieces[1].startswith("##")
    assert tokenizer.decode(tokenizer.encode("do not")) == "do not"  # and never "don't"


def test_an_unseen_character_makes_its_word_unknown(tokenizer):
    assert tokenizer.encode("한") == [tokenizer.unk_id]
    assert tokenizer.encode("a" * 101) == [tokenizer.unk_id]
    assert tokenizer.unk_id not in tokenizer.encode("a" * 100)


def test_case_and_accents_go_unless_kept(english, tokenizer):
    assert tokenizer.encode("CLASS") == tokenizer.encode("class") == tokenizer.encode("cláss")
    cased = train_tokenizer(english, algorithm="wordpiece", vocab_size=800, lowercase=False)
    assert cased.encode("Class") != cased.encode("class")


def test_the_size_is_exact_and_roles_are_berts(tokenizer):
    assert tokenizer.vocab_size == 800
    assert tokenizer.itos[tokenizer.bos_id] == tokenizer.config["cls_token"] == "[CLS]"
    assert tokenizer.itos[tokenizer.eos_id] == tokenizer.config["sep_token"] == "[SEP]"
    with pytest.raises(GroundupError, match=r"vocab_size 5000 is too large for this text: only \d+ tokens"):
        train_tokenizer(["one word two words"], algorithm="wordpiece", vocab_size=5000)
    assert train_tokenizer(["one word"], algorithm="wordpiece", vocab_size=5000, exact=False).vocab_size < 40


def test_another_process_learns_the_same(english):
    """The library numbers letters by a hash that is another one in each process."""
    code = (
        "import pydoc_data.topics as t\nfrom groundup.tokenization import train_tokenizer\n"
        "texts = list(t.topics.values())[:25]\n"
        "for a in ('wordpiece', 'unigram'): print(train_tokenizer(texts, algorithm=a, vocab_size=800).sha256)"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    here = [train_tokenizer(english, algorithm=name, vocab_size=800).sha256 for name in ("wordpiece", "unigram")]
    assert runs == {"\n".join(here) + "\n"}
