"""Merges by the optional trainer equal the reference's; where they would not, the reference does the work."""

from __future__ import annotations

import importlib.util
import random

import pytest

from groundup.tokenization import fast_training, train_tokenizer
from groundup.tokenization.algorithms.bpe import reference_merges
from groundup.tokenization.fast_training import learn_merges, merges_by_gigabpe
from groundup.tokenization.patterns import PATTERNS

gigabpe = pytest.importorskip("gigabpe")
pytest.importorskip("pyarrow")


def nonsense(seed: int) -> list[str]:
    """Texts of few letters, so that counts tie at every step."""
    chance = random.Random(seed)
    letters = ["ab", "abc é", "ab \n", "aAbB1.' ", "日本 ab", "\x00\x1f\x7f a\u0100"][seed % 6]
    return ["".join(chance.choices(letters, k=chance.randrange(1, 400))) for _ in range(40)]


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize("seed", range(12))
def test_merges_equal_where_everything_ties(pattern, seed):
    texts = nonsense(seed)
    for min_frequency in (1, 2, 5):
        merges = merges_by_gigabpe(texts, pattern, 300, min_frequency)
        assert merges == reference_merges(texts, pattern, 300, min_frequency)
        assert merges


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_merges_equal_on_language(pattern, english):
    texts = [text[:3000] for text in english] + ["Ελληνικά, русский, العربية, हिन्दी, 日本語, 한국어 👍🏽 " * 3]
    assert merges_by_gigabpe(texts, pattern, 800, 2) == reference_merges(texts, pattern, 800, 2)


@pytest.mark.shared_data
def test_merges_equal_on_books_of_three_languages(shared_data):
    corpora = shared_data / "corpora"
    for name in ("tinyshakespeare.txt", "wagahaiwa_nekodearu_ja.txt", "python313_pydoc_topics.txt"):
        text = (corpora / name).read_text(encoding="utf-8")[:60_000]
        texts = text.split("\n\n")
        for pattern in (PATTERNS["qwen2"], PATTERNS["o200k"]):
            assert merges_by_gigabpe(texts, pattern, 1000, 2) == reference_merges(texts, pattern, 1000, 2), name


def test_a_long_text_goes_to_the_fast_trainer_and_a_short_one_does_not(english, monkeypatch):
    monkeypatch.setattr(fast_training, "_SAMPLE", 20_000)
    settings = (PATTERNS["qwen2"], 200, 2)
    merges, library = learn_merges(iter(english), *settings, reference=reference_merges)
    assert library == "gigabpe"
    assert merges == reference_merges(english, *settings)
    short = [english[0][:5000]]
    assert learn_merges(iter(short), *settings, reference=reference_merges) == (
        reference_merges(short, *settings),
        "tokenizers",
    )


def test_unless_the_sample_agrees_the_reference_reads_it_all(english, monkeypatch):
    monkeypatch.setattr(fast_training, "_SAMPLE", 20_000)
    monkeypatch.setattr(fast_training, "merges_by_gigabpe", lambda *_: [("a", "b")])
    merges, library = learn_merges(iter(english), PATTERNS["gpt2"], 200, 2, reference=reference_merges)
    assert (library, merges) == ("tokenizers", reference_merges(english, PATTERNS["gpt2"], 200, 2))


def test_without_it_the_tokenizer_is_the_same(english, monkeypatch):
    monkeypatch.setattr(fast_training, "_SAMPLE", 20_000)
    with_it = train_tokenizer(english, vocab_size=700)
    monkeypatch.setattr(fast_training, "fast_trainer_is_there", lambda: False)
    assert train_tokenizer(english, vocab_size=700)._json == with_it._json


@pytest.mark.parametrize("missing", ["gigabpe", "pyarrow"])
def test_without_the_trainer_or_what_counts_for_it_the_reference_learns(missing, english, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    monkeypatch.setattr(fast_training, "_SAMPLE", 20_000)
    merges, library = learn_merges(iter(english), PATTERNS["gpt4"], 50, 2, reference=reference_merges)
    assert (library, len(merges)) == ("tokenizers", 50)


def test_any_number_of_threads_gives_the_same_merges(english, tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\n".join(english), encoding="utf-8")
    found = [
        gigabpe.train_bpe([str(path)], 500, min_frequency=2, pretokenizer="whitespace", threads=n) for n in (1, 2, 5)
    ]
    assert found[0] == found[1] == found[2]
