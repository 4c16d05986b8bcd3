"""Each constraint on answers that follow it and answers that do not; strict against loose; rows as IFEval publishes them."""

from __future__ import annotations

import pytest

from groundup.core.errors import GroundupError
from groundup.evaluation.constraint_prompts import CONSTRAINT_PROMPTS
from groundup.evaluation.constraints import CHECKS, Constraint, constraints_of, follow

CASES = [
    ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "one two three", "one two"),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "one two", "one two three"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n* b", "* a\n* b\n- c"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "so:\n- a", "**so**: a"),
    ("keywords:existence", {"keywords": ["snow", "fire"]}, "Fire on snow", "fire"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "concatenate", "A Cat sat"),
    ("change_case:english_lowercase", {}, "all small.", "Not all small."),
    ("change_case:english_capital", {}, "ALL LARGE.", "ALL LARGe."),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', "{a: 1}"),
    ("startend:end_checker", {"end_phrase": "That is all."}, 'Apples. "that is all."', "That is all. Bye"),
    ("punctuation:no_comma", {}, "a and b", "a, b"),
]


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), CASES)
def test_each_constraint(name: str, arguments: dict, good: str, bad: str):
    one = [Constraint(name, arguments)]
    assert follow(good, one).strict == (True,)
    assert follow(bad, one).strict == (False,)


def test_every_constraint_has_a_case():
    assert {name for name, *_ in CASES} == set(CHECKS)


def test_loose_forgives_an_introduction_and_markdown():
    lower = [Constraint("change_case:english_lowercase", {})]
    found = follow("Sure! Here it is:\na quiet day.", lower)
    assert (found.strict, found.loose) == ((False,), (True,))
    ends = [Constraint("startend:end_checker", {"end_phrase": "bye."})]
    assert follow("so **bye.**", ends).strict == (False,)
    assert follow("so **bye.**", ends).loose == (True,)
    assert follow("A b.\nC d.", lower).loose == (False,)  # neither line alone is in lower case


def test_an_empty_answer_follows_nothing():
    assert follow(" \n", [Constraint("punctuation:no_comma", {})]).loose == (False,)


def test_rows_of_the_published_file():
    row = {
        "key": 1,
        "prompt": "...",
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [{"num_words": None, "relation": None}, {"num_words": 300, "relation": "at least"}],
    }
    assert constraints_of(row) == (
        Constraint("punctuation:no_comma", {}),
        Constraint("length_constraints:number_words", {"num_words": 300, "relation": "at least"}),
    )
    assert constraints_of({"prompt": "..."}) == ()
    with pytest.raises(GroundupError, match="did you mean 'punctuation:no_comma'"):
        constraints_of({"instruction_id_list": ["punctuation:no_commas"]})
    with pytest.raises(GroundupError, match="num_bullets"):
        constraints_of({"instruction_id_list": ["detectable_format:number_bullet_lists"], "kwargs": [{}]})
    with pytest.raises(GroundupError, match="'around'"):
        constraints_of(
            {
                "instruction_id_list": ["length_constraints:number_words"],
                "kwargs": [{"relation": "around", "num_words": 3}],
            }
        )


def test_our_own_prompts_use_every_check():
    used = {one.name for row in CONSTRAINT_PROMPTS for one in constraints_of(row)}
    assert used == set(CHECKS)
