"""Repeated stretches: exactly those that a search of everything by everything finds."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data.duplicates import anchors as anchors_module
from groundup.data.duplicates import substrings as module
from groundup.data.duplicates.substrings import Span, repeated_spans
from groundup.data.reading import read_documents


@pytest.fixture(autouse=True)
def small_filter(monkeypatch):
    """A million bits: quick to make, and with large texts full enough to pass anchors that occur once."""
    monkeypatch.setattr(module, "_FILTER_BITS", 20)


def spans_of(texts: list[str], min_characters: int) -> list[list[Span]]:
    return list(repeated_spans(lambda: texts, min_characters=min_characters))


def by_comparing_everything(texts: list[str], n: int) -> list[list[Span]]:
    """The union of all stretches of n characters that stood before, not overlapping."""
    first: dict[str, tuple[int, int]] = {}
    found = []
    for number, text in enumerate(texts):
        spans: list[Span] = []
        for at in range(len(text) - n + 1):
            before = first.setdefault(text[at : at + n], (number, at))
            if before[0] < number or at - before[1] >= n:
                if spans and at <= spans[-1][1]:
                    spans[-1] = (spans[-1][0], at + n)
                else:
                    spans.append((at, at + n))
        found.append(spans)
    return found


def recombined(chance: random.Random, alphabet: str, n: int) -> list[str]:
    """Texts of a few passages, long and short, and of what stands nowhere else."""
    lengths = (5, 20, 30, n, n + 3, 2 * n, 5 * n)
    passages = ["".join(chance.choices(alphabet, k=chance.choice(lengths))) for _ in range(6)]

    def part() -> str:
        is_passage = chance.random() < 0.6
        return chance.choice(passages) if is_passage else "".join(chance.choices(alphabet, k=chance.randint(1, n)))

    return ["".join(part() for _ in range(chance.randint(0, 12))) for _ in range(chance.randint(1, 30))]


@pytest.mark.parametrize("alphabet", ["abcdefgh ", "aé日", "日本語の本", "a😀b"])
def test_what_is_found_is_what_comparing_everything_finds(monkeypatch, alphabet: str):
    """To the character, cut into blocks anywhere. The bound on places is lifted: passages here stand in dozens of contexts."""
    monkeypatch.setattr(module, "_MOST_PLACES", 1000)
    n_spans = 0
    for seed in range(6):
        chance = random.Random(seed)
        n = chance.choice([32, 40, 50])
        texts = recombined(chance, alphabet, n)
        monkeypatch.setattr(anchors_module, "_BLOCK_BYTES", chance.choice([300, 1 << 20]))
        monkeypatch.setattr(module, "_BATCH_BYTES", chance.choice([100, 1000, 1 << 20]))
        expected = by_comparing_everything(texts, n)
        assert spans_of(texts, n) == expected, seed
        n_spans += sum(map(len, expected))
    assert n_spans > 50


def test_with_the_bound_on_places_only_ends_are_missed():
    missed = total = 0
    for seed in range(12):
        chance = random.Random(seed)
        texts = recombined(chance, "abcdefgh ", 40)
        for got, expected in zip(spans_of(texts, 40), by_comparing_everything(texts, 40), strict=True):
            missing = {at for span in expected for at in range(*span)} - {at for span in got for at in range(*span)}
            assert not {at for span in got for at in range(*span)} - {at for span in expected for at in range(*span)}
            missed, total = missed + len(missing), total + sum(end - start for start, end in expected)
    assert missed <= 0.001 * total


def test_planted_repeats_are_found_to_the_character():
    chance = random.Random(3)
    letters = "etaoin shrdlu cmfwyp"

    def fresh(n: int) -> str:
        return "".join(chance.choices(letters, k=n))

    passages = [fresh(length) for length in range(200, 400)]
    first = ["<" + passage + ">" + fresh(50) for passage in passages]
    again = [fresh(100) + "[" + passage + "]" + fresh(100) for passage in passages]
    short = [fresh(100) + "{" + passage[:199] + "}" for passage in passages]
    found = spans_of(first + again + short, 200)
    assert found == [[]] * 200 + [[(101, 101 + len(passage))] for passage in passages] + [[]] * 200


def test_in_one_document_the_first_place_stays():
    passage = "The quick brown fox jumps over the lazy dog, again and again. "
    text = "First: " + passage + "Then = " + passage + "end"
    start = text.rindex(" " + passage)
    assert spans_of([text], 50) == [[(start, start + len(passage) + 1)]]
    assert spans_of([text, text], 50)[1] == [(0, len(text))]


@pytest.mark.parametrize("unit", ["a", "ab", "-+-"])
def test_a_stretch_that_repeats_itself_keeps_its_beginning(unit: str):
    text = "before " + unit * 1000 + " after"
    (start, end), *others = spans_of([text], 100)[0]
    assert not others
    assert 7 + 100 <= start <= 7 + 100 + len(unit)
    assert len(text) - 6 - len(unit) <= end <= len(text) - 6


def test_short_empty_and_broken_texts():
    assert spans_of([], 32) == []
    assert spans_of(["", "x", "x", "", "\ud83d" * 40, "\ud83d" * 40], 40) == [[], [], [], [], [], [(0, 40)]]


def test_texts_of_one_line_repeated_take_linear_time():
    def seconds(texts: list[str]) -> float:
        began = time.process_time()
        n_found = sum(bool(spans) for spans in repeated_spans(lambda: texts, min_characters=200))
        assert n_found >= len(texts) - 1
        return time.process_time() - began

    chance = random.Random(4)
    line = "".join(chance.choices("etaoin shrdlu", k=1000))
    # 190 characters everywhere, with other neighbours each time: every anchor in it has very many contexts.
    boiler = ["".join(chance.choices("etaoin", k=60)) + line[:190] + line[300:510] for _ in range(2000)]
    for texts in ([line] * 2000, boiler):
        assert seconds(texts) < 8 * seconds(texts[:500]) + 0.5
    for run in ("a" * 2_000_000, "ab" * 1_000_000, "word " * 400_000):
        began = time.process_time()
        (start, end), *others = spans_of([run], 200)[0]
        assert not others and start < 210 and end >= 2_000_000 - 5
        assert time.process_time() - began < 10


def test_a_document_of_many_blocks():
    chance = random.Random(5)
    passage = "".join(chance.choices("etaoin shrdlu", k=300))
    long = "".join(chance.choices("etaoin shrdlu", k=3_000_000))
    text = long[:10] + passage + long[10:-50] + passage + long[-50:]
    assert spans_of([text, passage], 200) == [[(len(text) - 350, len(text) - 50)], [(0, 300)]]


def test_the_temporary_file_lies_where_asked_and_goes(tmp_path: Path):
    spans = repeated_spans(lambda: ["x" * 100] * 2, min_characters=32, scratch=tmp_path)
    next(spans)
    assert len(list(spans)) == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(GroundupError, match="absent is no folder"):
        repeated_spans(lambda: ["x"], scratch=tmp_path / "absent")


def test_a_length_too_short_is_refused():
    with pytest.raises(GroundupError, match="min_characters is 10"):
        repeated_spans(lambda: [""], min_characters=10)


@pytest.mark.shared_data
def test_on_real_text(shared_data: Path):
    """The speeches of the presidents, and half a speech said again."""
    texts = [document.text for document in read_documents(shared_data / "corpora" / "sotu_1790_2026.jsonl")][:30]
    texts.append("A new beginning. " + texts[10][1000:5000] + " A new end.")
    found = spans_of(texts, 200)
    assert found[-1] == [(17, 4017)]
    assert found == by_comparing_everything(texts, 200)
