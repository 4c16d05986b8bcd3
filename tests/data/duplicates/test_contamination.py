"""Evaluation items in a corpus: found whatever the case and punctuation, named, shown, and nothing else."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data.duplicates import contamination as module
from groundup.data.duplicates.contamination import EvaluationIndex, Leak
from groundup.data.reading import read_documents

ITEM = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
OTHER = (
    "How many apples does the baker need to fill forty nine baskets with a dozen apples each, if two baskets are full?"
)
INDEX = EvaluationIndex.from_texts("math", [OTHER, ITEM])


def test_an_item_is_found_named_and_shown():
    text = f"Some page. {ITEM} And more of it."
    assert INDEX.matches(text) == [Leak("math", 1, 11, 11 + len(ITEM) - 1, ITEM[:-1])]  # the full stop is no word


def test_case_punctuation_and_hidden_characters_do_not_hide_it():
    text = "x\n" + ITEM.upper().replace(",", " -- ").replace(" ", "\n ").replace("FRIENDS", "FRI\u200bENDS")
    (leak,) = INDEX.matches(text)
    assert (leak.index, leak.start, leak.end) == (1, 2, len(text) - 1)


@pytest.mark.parametrize(("n_words", "is_found"), [(12, False), (13, True), (14, True)])
def test_thirteen_words_in_a_row_are_needed(n_words: int, is_found: bool):
    part = " ".join(ITEM.split()[3 : 3 + n_words])
    leaks = INDEX.matches(f"Elsewhere {part} elsewhere")
    assert bool(leaks) == is_found
    if is_found:
        assert leaks[0].excerpt == part


def test_a_changed_word_in_the_middle_leaves_what_stays():
    words = OTHER.split()
    assert INDEX.matches(" ".join([*words[:10], "pears", *words[11:]])) == []  # 10 and 11 words are left
    many = " ".join(f"word{number}" for number in range(40))
    index = EvaluationIndex.from_texts("set", [many])
    leaks = index.matches(many.replace("word20", "other"))
    assert [(leak.excerpt.split()[0], leak.excerpt.split()[-1]) for leak in leaks] == [
        ("word0", "word19"),
        ("word21", "word39"),
    ]


def test_runs_do_not_reach_over_documents():
    words = ITEM.split()
    halves = [" ".join(words[:10]), " ".join(words[10:])]
    assert INDEX.matches_many(halves) == [[], []]
    assert [len(leaks) for leaks in INDEX.matches_many(["", " ".join(halves), "", ITEM])] == [0, 1, 0, 1]


def test_short_items_are_looked_for_whole_and_the_shortest_not():
    index = EvaluationIndex.from_texts("set", ["one two three four five six seven eight", "one two three", ""])
    assert (index.n_items, index.n_too_short) == (3, 2)
    assert [leak.index for leak in index.matches("zero One two three four five six seven, eight nine")] == [0]
    assert index.matches("one two three four five six seven nine") == []


def test_scripts_without_spaces_take_twice_as_many():
    chance = random.Random(0)
    letters = [chr(code) for code in range(0x4E00, 0x4F00)]
    item = "".join(chance.choices(letters, k=60))
    short = "".join(chance.choices(letters, k=16))
    index = EvaluationIndex.from_texts("zh", [item, short, short[:15]])
    assert index.n_too_short == 1
    text = "前" * 30 + item[10:36] + "後" * 30
    assert index.matches(text) == [Leak("zh", 0, 30, 56, item[10:36])]
    assert index.matches("前" * 30 + item[10:35] + "後" * 30) == []
    assert [leak.index for leak in index.matches("前" + short + "後")] == [1]


def test_what_many_items_share_says_nothing_about_one():
    frame = "Answer the following question by choosing one of the letters given below and explain your choice: "
    own = ["".join(f" own{item}x{word}" for word in range(15)) for item in range(20)]
    index = EvaluationIndex.from_texts("set", [frame + text for text in own])
    assert index.n_common == 4  # 16 words: runs of 13 from 4 places
    assert index.matches(frame + "something else that nobody asked") == []
    assert [leak.index for leak in index.matches(frame + own[7])] == [7]
    few = EvaluationIndex.from_texts("set", [frame + text for text in own[:10]])
    assert few.n_common == 0
    assert [leak.index for leak in few.matches(frame + "something else")] == [0]


def test_long_leaks_are_shown_by_their_ends():
    text = " ".join(f"word{number}" for number in range(1000))
    (leak,) = EvaluationIndex.from_texts("set", [text]).matches(text)
    assert (leak.start, leak.end) == (0, len(text))
    assert leak.excerpt.startswith("word0 word1") and leak.excerpt.endswith("word999") and len(leak.excerpt) <= 160


def test_many_items_and_batches(monkeypatch):
    chance = random.Random(1)
    items = [" ".join(f"v{chance.randrange(500)}" for _ in range(chance.randint(8, 40))) for _ in range(300)]
    texts = [f"before {item} after" for item in items]
    monkeypatch.setattr(module, "_AT_ONCE", 7)
    index = EvaluationIndex.from_texts("set", items)
    found = index.matches_many(texts)
    assert [[leak.index for leak in leaks] for leaks in found] == [[number] for number in range(300)]
    assert all(leaks[0] == index.matches(text)[0] for leaks, text in zip(found[:20], texts, strict=False))


# ---- evaluation files


def write_rows(path: Path, rows: list[object]) -> Path:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["questions.jsonl", "questions.jsonl.gz"])
def test_all_strings_of_a_row_are_its_item(tmp_path: Path, name: str):
    row = {"id": 3, "question": ITEM, "choices": {"text": [OTHER, "a pear"], "label": ["A", "B"]}, "answer": None}
    index = EvaluationIndex.from_paths(write_rows(tmp_path / name, [{"question": "?"}, row]))
    assert (index.n_items, index.n_too_short) == (2, 1)
    for text in (ITEM, OTHER):
        assert [(leak.name, leak.index) for leak in index.matches("x " + text)] == [(name, 1)]


def test_a_field_can_be_chosen_and_other_files_read(tmp_path: Path):
    path = write_rows(tmp_path / "set.jsonl", [{"question": ITEM, "passage": OTHER}])
    index = EvaluationIndex.from_paths(path, text_field="question")
    assert [bool(index.matches(text)) for text in (ITEM, OTHER)] == [True, False]
    (tmp_path / "set.txt").write_text(OTHER)
    both = EvaluationIndex.from_paths([path, tmp_path / "set.txt"])
    assert both.n_items == 2
    assert {leak.name for leak in both.matches(OTHER)} == {"set.jsonl"}  # of equal runs, the first item is named


def test_broken_files_are_named(tmp_path: Path):
    (tmp_path / "broken.jsonl").write_text('{"a": "b"}\n{"a": \n')
    with pytest.raises(GroundupError, match=r"broken\.jsonl:2: not valid JSON"):
        EvaluationIndex.from_paths(tmp_path / "broken.jsonl")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"a": "b"}\n' * 1000)[:-20])
    with pytest.raises(GroundupError, match=r"cut\.jsonl\.gz"):
        EvaluationIndex.from_paths(tmp_path / "cut.jsonl.gz")
    with pytest.raises(GroundupError, match="words is 1"):
        EvaluationIndex.from_texts("set", [], words=1)


@pytest.mark.shared_data
def test_real_leaks_are_found_and_real_text_is_clean(shared_data: Path):
    """MMLU's history questions quote the presidents' messages: those leaks are real. Shakespeare and Wikipedia hold none."""
    evaluation = [shared_data / "eval" / name for name in ("mmlu_test.jsonl.gz", "gsm8k_test.jsonl")]
    index = EvaluationIndex.from_paths(evaluation)
    assert index.n_items == 14042 + 1319
    speeches = [document.text for document in read_documents(shared_data / "corpora" / "sotu_1790_2026.jsonl")]
    leaks = [leak for some in index.matches_many(speeches[:60]) for leak in some]
    assert any("graves of their fathers" in leak.excerpt or "benevolent" in leak.excerpt for leak in leaks)
    assert {leak.name for leak in leaks} == {"mmlu_test.jsonl.gz"}
    for name in ("tinyshakespeare.txt", "wikitext2_test.txt", "tinystories_cased_944k.txt"):
        assert index.matches((shared_data / "corpora" / name).read_text(encoding="utf-8")) == []
