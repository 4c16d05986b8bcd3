"""The verdict on one document, with edits and without."""

from __future__ import annotations

import json

import numpy as np
import pytest

from groundup.data.cleaning.judge import Judge, Verdict
from groundup.data.cleaning.lines import line_number
from groundup.data.cleaning.settings import CleanConfig

NOTICE = "All rights reserved by the owners of this page."
TEXT = f"Write to jane@example.org.\n{NOTICE}\nA cafÃ© with a hid\u200bden character is what this is about, no more."


@pytest.fixture
def findings(tmp_path):
    np.save(tmp_path / "frequent-lines.npy", np.array([line_number(NOTICE)], np.uint64))
    return tmp_path


def test_clean_edits_in_order_and_says_so(findings):
    settings = CleanConfig(rules=("default", "boilerplate", "c4_lines"))
    verdict = Judge(settings, findings, is_final=True)(TEXT)
    assert verdict.text == "A café with a hidden character is what this is about, no more."
    assert verdict.edits == {"mojibake": 1, "hidden": 1, "boilerplate": 1, "masked_email": 1, "c4_lines": 1}
    assert verdict.private == {"email": 1} and verdict.hidden == {"zero_width": 1}
    assert verdict.taken == {"boilerplate": NOTICE, "c4_lines": "Write to <email>."}
    assert verdict.failed == []


def test_inspect_repairs_and_only_counts_the_rest(findings):
    settings = CleanConfig(rules=("default", "boilerplate", "c4_lines"))
    verdict = Judge(settings, findings, is_final=False)(TEXT)
    assert verdict.text == TEXT.replace("Ã©", "é")
    assert verdict.edits == {"mojibake": 1, "boilerplate": 1, "c4_lines": 2 - 1 + 0}
    assert verdict.private == {"email": 1}


def test_rules_that_fail_carry_their_figure_and_those_without_a_figure_are_named(tmp_path):
    verdict = Judge(CleanConfig(rules=("gopher",)), tmp_path, is_final=True)("Kurz und gut, schöne Grüße.")
    assert verdict.failed == [("word_count", 5)]
    assert {"stop_words", "top_2_gram", "duplicate_10_grams"} <= set(verdict.unmeasured)
    assert verdict.excerpt == "Kurz und gut, schöne Grüße."


def test_all_kinds_of_choice_for_personal_data(tmp_path):
    text = "Jane: jane@example.org, +44 20 7946 0958, from 8.8.8.8"
    usual = Judge(CleanConfig(rules=("privacy",)), tmp_path, is_final=True)(text)
    assert usual.text == "Jane: <email>, <phone>, from 8.8.8.8"
    chosen = CleanConfig(rules=("privacy",), privacy={"email": "report", "phone": "drop", "ip": "mask"})
    verdict = Judge(chosen, tmp_path, is_final=True)(text)
    assert verdict.text == "Jane: jane@example.org, +44 20 7946 0958, from <ip>"
    assert verdict.failed == [("personal_data", 1)]
    assert verdict.excerpt == "Jane: <email>, <phone>, from <ip>"


def test_japanese_is_not_judged_by_rules_on_words(tmp_path):
    text = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 10 + "\n終わり。"
    verdict = Judge(CleanConfig(rules=("gopher_quality", "fineweb", "symbols", "c4")), tmp_path, is_final=True)(text)
    assert verdict.failed == []
    assert {"word_count", "mean_word_length", "short_lines", "longest_word"} <= set(verdict.unmeasured)


def test_a_verdict_goes_through_json():
    verdict = Verdict("text\ud800 é", failed=[("word_count", 3)], edits={"hidden": 2}, score=-1.5)
    assert Verdict.from_json(json.loads(json.dumps(verdict.as_json()))) == verdict
