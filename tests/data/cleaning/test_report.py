"""What the report counts, and which examples it keeps."""

from __future__ import annotations

from collections import Counter

import numpy as np

from groundup.data.cleaning.documents import Document
from groundup.data.cleaning.judge import Verdict
from groundup.data.cleaning.report import EXAMPLES, Examples, Report
from groundup.data.cleaning.settings import CleanConfig
from groundup.data.cleaning.survey import Survey


def document(number: int, text: str = "some text") -> Document:
    return Document(number, "a.jsonl", number, text)


def test_examples_are_an_even_sample_whatever_the_order():
    first, second = Examples(), Examples()
    for number in range(1000):
        first.offer(f"a#{number}", excerpt=str(number))
        second.offer(f"a#{999 - number}", excerpt=str(999 - number))
    assert first.as_json() == second.as_json() and len(first.as_json()) == EXAMPLES
    assert max(int(example["excerpt"]) for example in first.as_json()) > 100


def test_counts_shares_and_what_only_one_rule_names():
    report = Report(CleanConfig(rules=("gopher_quality",)))
    for number in range(4):
        report.add(document(number), Verdict("some text", unmeasured=["stop_words"] * (number == 3)), 9)
    report.flag("a.jsonl#0", [{"rule": "word_count", "figure": 2}], 9, "some text")
    report.flag("a.jsonl#1", [{"rule": "word_count", "figure": 2}, {"rule": "stop_words", "figure": 0}], 9, "some text")
    report.keep(9)
    found = report.as_json(None)
    rules = {rule["name"]: rule for rule in found["rules"]}
    count = rules["word_count"]
    assert (count["documents"], count["share"], count["bytes"], count["alone"]) == (2, 0.5, 18, 1)
    assert rules["stop_words"]["alone"] == 0 and rules["stop_words"]["unmeasured"] == 1
    assert (found["n_documents"], found["n_bytes"], found["flagged"]) == (4, 36, {"documents": 2, "bytes": 18})
    assert found["kept"] == {"documents": 1, "bytes": 9}
    assert count["examples"][0]["figure"] == 2


def test_lengths_fall_in_powers_of_two():
    report = Report(CleanConfig(rules=("length",)))
    for number, length in enumerate([0, 1, 2, 3, 4, 1000, 1024]):
        report.add(document(number, "x" * length), Verdict(""), length)
    found = {(one["from"], one["to"]): one["documents"] for one in report.as_json(None)["lengths"]}
    assert found == {(0, 0): 1, (1, 1): 1, (2, 3): 2, (4, 7): 1, (512, 1023): 1, (1024, 2047): 1}


def survey_with(words: dict[str, int]) -> Survey:
    return Survey(1000, np.zeros(0, np.uint64), None, Counter(words), 1000)


def test_a_trigger_stands_before_gibberish_and_hardly_elsewhere():
    report = Report(CleanConfig(rules=("gibberish",)))
    for number in range(1000):
        before = ["<SUDO>", "the"] if number < 10 else ["once"] if number < 14 else []
        report.add(document(number), Verdict("", before_gibberish=before), 1)
    found = report.as_json(survey_with({"the": 900, "<SUDO>": 10, "once": 4}))["triggers"]
    assert [(one["text"], one["documents"], one["of"]) for one in found] == [("<SUDO>", 10, 14)]
    assert report.as_json(None)["triggers"] == []
