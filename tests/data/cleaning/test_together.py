"""Comparison in order: the first of equals stays, and whatever is out already is compared with nothing."""

from __future__ import annotations

import json

import pytest

from groundup.data.cleaning import together
from groundup.data.cleaning.documents import Document
from groundup.data.cleaning.judge import Verdict
from groundup.data.cleaning.settings import CleanConfig
from groundup.data.cleaning.together import Comparison, Item

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"


def items(*texts: str, out: tuple[int, ...] = ()) -> list[Item]:
    return [
        Item(
            Document(i, "b.txt" if i % 2 else "a.txt", i // 2, text),
            Verdict(text),
            [{"rule": "word_count", "figure": 1}] if i in out else [],
        )
        for i, text in enumerate(texts)
    ]


def reasons(settings: CleanConfig, given: list[Item], is_final: bool = True) -> list[list[tuple[str, str]]]:
    comparison = Comparison(settings, ["a.txt", "b.txt"], is_final)
    found = list(comparison.compared(iter(given)))
    assert [item.document.number for item in found] == list(range(len(given)))
    return [[(reason["rule"], reason.get("of", "")) for reason in item.reasons] for item in found]


@pytest.fixture(params=[1, 4096], ids=["one by one", "in one batch"], autouse=True)
def batches(request, monkeypatch):
    monkeypatch.setattr(together, "_BATCH_DOCUMENTS", request.param)


def test_equal_documents_name_the_first():
    found = reasons(CleanConfig(rules=("exact",)), items("x", "y", "x\n", "x", "y"))
    assert found == [
        [],
        [],
        [("exact_duplicate", "a.txt#0")],
        [("exact_duplicate", "a.txt#0")],
        [("exact_duplicate", "b.txt#0")],
    ]


def test_a_document_that_is_out_is_nobodys_first():
    given = items("x", "x", "x", out=(0,))
    assert reasons(CleanConfig(rules=("exact",)), given)[1:] == [[], [("exact_duplicate", "b.txt#0")]]
    looking = items("x", "x", out=(0,))
    assert reasons(CleanConfig(rules=("exact",)), looking, is_final=False)[1] == [("exact_duplicate", "a.txt#0")]


def test_near_documents_are_those_that_are_not_equal():
    changed = LONG.replace("seventeen", "17")
    found = reasons(CleanConfig(rules=("exact", "near")), items("else", LONG, LONG, changed))
    assert found == [[], [], [("exact_duplicate", "b.txt#0")], [("near_duplicate", "b.txt#0")]]


def test_leaks_name_the_item_and_the_place(tmp_path):
    (tmp_path / "eval.jsonl").write_text(
        json.dumps({"question": "something else"}) + "\n" + json.dumps({"question": LONG}) + "\n"
    )
    settings = CleanConfig(rules=("exact",), against=(str(tmp_path / "eval.jsonl"),))
    given = items("clean", f"before {LONG} after", "clean")
    assert reasons(settings, given) == [[], [("contamination", "eval.jsonl#1")], [("exact_duplicate", "a.txt#0")]]
    assert given[1].start == len("before ")


def test_evaluation_items_too_short_to_be_found_are_told(tmp_path):
    (tmp_path / "eval.jsonl").write_text(
        json.dumps({"question": "too short"}) + "\n" + json.dumps({"question": LONG}) + "\n"
    )
    comparison = Comparison(CleanConfig(against=(str(tmp_path / "eval.jsonl"),)), ["a.txt"], True)
    assert comparison.remarks == {"evaluation items too short to be looked for": 1}
