"""Text that would hold a trainer up ends all the same: long words in pieces, a little of them, and it is said."""

from __future__ import annotations

import random
import string
import time

import pytest

from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.tokenization import algorithm_names, train_tokenizer
from groundup.tokenization.algorithms import _text
from groundup.tokenization.algorithms._text import LONGEST_WORD, CountedTexts, Spool, may_hold_long_word
from groundup.tokenization.algorithms.bpe import MOST_UNSPLIT_CHARACTERS
from groundup.tokenization.patterns import words_may_cut


class Ear(Reporter):
    def __init__(self):
        self.warned = []

    def warn(self, text):
        self.warned.append(text)


def parts_of(*texts: str) -> tuple[list[str], CountedTexts]:
    read = CountedTexts(texts)
    return list(read.parts(words_may_cut, str.split)), read


def test_ordinary_text_passes_as_it_is():
    text = "word " * 1000 + "x" * 120
    assert parts_of(text, "", "y")[0] == [text, "y"]


def test_a_long_word_comes_in_pieces_between_its_neighbours():
    parts, read = parts_of("a b " + "x" * 600 + " c")
    assert parts == ["ab", "x" * 256, "x" * 256, "x" * 88, "c"]  # str.split drops the spaces here
    assert read.n_left_out == 0


@pytest.mark.parametrize("run", ["x" * 257, " " * 257, "\n \t" * 86, "-\x1c" * 200, "é" * 257])
def test_every_long_run_is_seen_wherever_it_stands(run):
    for before in range(0, 300, 7):
        assert may_hold_long_word("some words " * 40 + "ab " * (before // 3) + run + "." + " more" * before)


def test_ordinary_text_is_not_looked_into(english):
    assert not any(map(may_hold_long_word, english))
    assert not may_hold_long_word("x" * 256)
    assert not may_hold_long_word("word " * 1000 + "x" * 120 + " word" * 1000)


def test_only_the_first_of_long_words_is_learned_from(monkeypatch):
    monkeypatch.setattr(_text, "MOST_IN_LONG_WORDS", 1000)
    parts, read = parts_of("x" * 700, "y" * 700, "z" * 700 + " end")
    assert "".join(parts) == "x" * 700 + "y" * 300 + "end"
    assert read.n_left_out == 400 + 700


def test_a_text_without_a_place_to_cut_still_comes_in_parts(monkeypatch):
    monkeypatch.setattr(_text, "MOST_IN_LONG_WORDS", 1 << 40)
    text = "".join(random.Random(0).choices(string.ascii_letters, k=1_000_003))
    parts, _ = parts_of(text)
    assert "".join(parts) == text
    assert max(map(len, parts)) == LONGEST_WORD


def test_a_spool_gives_its_parts_again_and_without_the_rare():
    parts = ["a\nb", "", "çab", "日本 a"]
    with Spool(parts) as spool:
        assert list(spool) == list(spool) == parts
        assert spool.characters["a"] == 3
        assert spool.most_frequent(2) == ["a", "b"]
        assert list(spool.without_rare("ab \n")) == ["a\nb", "ab", " a"]
        assert list(spool.without_rare(spool.characters)) == parts


def hostile(kind: str, n_bytes: int) -> str:
    chance = random.Random(0)
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    match kind:
        case "letters":
            return "".join(chance.choices(string.ascii_letters, k=n_bytes))
        case "one letter":
            return "a" * n_bytes
        case "spaces":
            return " \n" * (n_bytes // 2)
        case "bytes":
            return chance.randbytes(n_bytes).decode("utf-8", errors="replace")
        case "unicode":
            return "".join(chance.choices(every, k=n_bytes // 3))
    raise AssertionError(kind)


def try_to_train(algorithm: str, text: str, **settings) -> str:
    """Train or be refused with a reason; what came of it."""
    try:
        tokenizer = train_tokenizer([text], algorithm=algorithm, vocab_size=700, **settings)
    except GroundupError as refused:
        if "is too large for this text" in str(refused):
            return "refused"
        raise
    sample = text[:2000]
    if algorithm in ("bpe", "unigram", "char"):
        assert tokenizer.decode(tokenizer.encode(sample)) == sample
    return "trained"


@pytest.mark.parametrize("kind", ["letters", "one letter", "spaces", "bytes", "unicode"])
@pytest.mark.parametrize("algorithm", algorithm_names())
def test_a_hostile_text_ends(algorithm, kind, monkeypatch):
    monkeypatch.setattr(_text, "MOST_IN_LONG_WORDS", 20_000)
    found = try_to_train(algorithm, hostile(kind, 200_000))
    if kind in ("one letter", "spaces"):  # nothing to learn but for those whose vocabulary may be small
        assert found == ("trained" if algorithm in ("char", "word") else "refused")
    elif kind == "letters":
        assert found == "trained"


def test_what_was_left_out_is_said(monkeypatch):
    monkeypatch.setattr(_text, "MOST_IN_LONG_WORDS", 5_000)
    ear = Ear()
    train_tokenizer([hostile("letters", 50_000), "some words"], vocab_size=500, reporter=ear)
    assert len(ear.warned) == 1
    assert ear.warned[0].startswith("45,000 characters were left out: they stand in words of more than 256 characters")
    with pytest.raises(GroundupError, match="is it text, with spaces"):
        train_tokenizer(["a" * 50_000], vocab_size=500)


def test_without_a_pattern_only_so_much_is_read():
    ear = Ear()
    text = "ab cd " * (MOST_UNSPLIT_CHARACTERS // 6 + 100)
    tokenizer = train_tokenizer([text], vocab_size=272, pattern="none", reporter=ear)
    assert ear.warned == [
        f"without a pattern, pairs are learned from the first 4,000,000 characters; {len(text) - 4_000_000:,} more were left out"
    ]
    assert any(" " in tokenizer.decode([id]).strip() for id in range(256, 263))  # a merge across a space


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("algorithm", "kind"), [("bpe", "letters"), ("bpe", "bytes"), ("wordpiece", "letters"), ("unigram", "letters")]
)
def test_fifty_megabytes_in_one_line_end(algorithm, kind):
    begun = time.monotonic()
    try_to_train(algorithm, hostile(kind, 50_000_000))
    assert time.monotonic() - begun < 800
