"""Training: sizes exact, specials last, one pass over the text, errors that say what could be had."""

from __future__ import annotations

import pytest

from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.tokenization import SPECIAL_TOKENS, algorithm_names, train_tokenizer
from groundup.tokenization.patterns import PATTERNS

N_SPECIAL = len(SPECIAL_TOKENS.names())


class Ear(Reporter):
    def __init__(self):
        self.said, self.warned = [], []

    def say(self, text=""):
        self.said.append(text)

    def warn(self, text):
        self.warned.append(text)


def test_the_vocabulary_has_the_size_asked_for_with_the_special_tokens_last(english):
    tokenizer = train_tokenizer(english, vocab_size=500)
    assert tokenizer.vocab_size == 500
    assert [tokenizer.id_of(name) for name in SPECIAL_TOKENS.names()] == list(range(500 - N_SPECIAL, 500))


def test_the_first_merge_is_the_most_frequent_pair():
    # Pairs inside words: "lo" 5 times, "ow" 5 times, "we" 2; the library takes the pair of lower ids among equals.
    tokenizer = train_tokenizer(["low low low lower lower"], vocab_size=256 + 2 + N_SPECIAL)
    assert tokenizer.decode([256]) == "lo"
    assert tokenizer.decode([257]) == "low"


def test_a_vocabulary_too_large_says_how_many_could_be_made():
    text = ["abab abab"]
    with pytest.raises(GroundupError, match=r"vocab_size 5000 is too large for this text: only (\d+) tokens") as caught:
        train_tokenizer(text, vocab_size=5000)
    could = int(str(caught.value).split("only ")[1].split()[0])
    assert 256 + N_SPECIAL < could < 256 + N_SPECIAL + 8
    assert train_tokenizer(text, vocab_size=could).vocab_size == could


def test_numbers_that_no_text_reaches_are_refused_before_room_is_made_for_them():
    for size in (10**9, 10**40, -1):
        with pytest.raises(GroundupError, match=f"vocab_size {size} must be"):
            train_tokenizer(["abab"], vocab_size=size)
    with pytest.raises(GroundupError, match=r"min_frequency 10+ must be"):
        train_tokenizer(["abab"], vocab_size=300, min_frequency=10**40)


def test_a_vocabulary_too_small_for_its_base_is_refused(english):
    with pytest.raises(GroundupError, match=f"vocab_size 260 is too small: .* need {256 + N_SPECIAL}"):
        train_tokenizer(english, vocab_size=260)
    with pytest.raises(GroundupError, match="vocab_size 265 leaves no room for characters beside 256 bytes"):
        train_tokenizer(english, algorithm="char", vocab_size=265)
    assert train_tokenizer(["x"], vocab_size=256 + N_SPECIAL).encode("xé") == [87, 127, 102]


@pytest.mark.parametrize("algorithm", algorithm_names())
@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_no_text_is_an_error(algorithm, texts):
    with pytest.raises(GroundupError, match="no text to learn a tokenizer from"):
        train_tokenizer(texts, algorithm=algorithm, vocab_size=450)


def test_unknown_names_are_refused_with_the_nearest(english):
    with pytest.raises(GroundupError, match="unknown tokenizer algorithm 'bpee'; did you mean 'bpe'"):
        train_tokenizer(english, algorithm="bpee")
    with pytest.raises(GroundupError, match="unknown pre-splitting pattern 'qwen'; did you mean 'qwen2'"):
        train_tokenizer(english, pattern="qwen")
    with pytest.raises(GroundupError, match="min_frequency 0 must be 1 or more"):
        train_tokenizer(english, min_frequency=0)
    with pytest.raises(GroundupError, match="unigram weighs all substrings of a word, so it needs words"):
        train_tokenizer(english, algorithm="unigram", pattern="none")


def test_a_setting_without_effect_is_refused(english):
    with pytest.raises(GroundupError, match="byte_fallback=False has no effect on algorithm='bpe'; it is for char"):
        train_tokenizer(english, byte_fallback=False)


@pytest.mark.parametrize("algorithm", algorithm_names())
def test_what_is_no_text_is_refused_where_it_stands(algorithm):
    with pytest.raises(GroundupError, match="texts is one string"):
        train_tokenizer("one string", algorithm=algorithm)
    with pytest.raises(GroundupError, match="text 1 is of type bytes"):
        train_tokenizer(["fine", b"bytes"], algorithm=algorithm)
    with pytest.raises(GroundupError, match="text 1: character 2 is half a surrogate pair"):
        train_tokenizer(["fine", "ab\ud800"], algorithm=algorithm)


@pytest.mark.parametrize("algorithm", algorithm_names())
def test_texts_are_read_once_and_their_errors_pass_through(algorithm, english):
    once = iter(english)
    assert train_tokenizer(once, algorithm=algorithm, vocab_size=450).vocab_size <= 450
    assert next(once, None) is None

    def broken():
        yield "fine"
        raise GroundupError("the file vanished")

    with pytest.raises(GroundupError, match="the file vanished"):
        train_tokenizer(broken(), algorithm=algorithm, vocab_size=450)


@pytest.mark.parametrize("pattern", sorted(set(PATTERNS) - {"none"}))
def test_a_text_learned_whole_or_in_slices_gives_the_same_tokenizer(english, pattern):
    whole = "\n".join(english)
    assert len(whole) > 1 << 16  # longer than the parts training is fed with
    tokenizer = train_tokenizer([whole], vocab_size=400, pattern=pattern)
    assert train_tokenizer(tokenizer.slices(whole, 100), vocab_size=400, pattern=pattern).sha256 == tokenizer.sha256


def test_characters_are_sorted_after_the_bytes():
    tokenizer = train_tokenizer(["banana"], algorithm="char")
    assert tokenizer.vocab_size == 256 + 3 + N_SPECIAL
    assert tokenizer.encode("abn") == [256, 257, 258]
    assert tokenizer.encode("é") == [0xC3, 0xA9]
    assert tokenizer.decode([0xC3, 0xA9]) == "é"


def test_characters_without_byte_fallback_lose_the_unseen_ones():
    tokenizer = train_tokenizer(["banana"], algorithm="char", byte_fallback=False)
    assert tokenizer.vocab_size == 3 + N_SPECIAL
    assert tokenizer.encode("nxé") == [2, tokenizer.unk_id, tokenizer.unk_id]


def test_the_rarest_characters_give_way_and_that_is_said():
    ear = Ear()
    tokenizer = train_tokenizer(["aaabbc"], algorithm="char", vocab_size=256 + 2 + N_SPECIAL, reporter=ear)
    assert tokenizer.encode("abc") == [256, 257, ord("c")]
    assert ear.warned == ["3 different characters but room for 2; the rarest are spelled by their bytes"]
    assert len(ear.said) == 1
    assert "learned from 6 bytes" in ear.said[0]
