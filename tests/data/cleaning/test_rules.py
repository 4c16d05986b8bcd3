"""The table of rules: names, bounds, families."""

from __future__ import annotations

import pytest

from groundup.core.errors import GroundupError
from groundup.data.cleaning.rules import DEFAULT, EDITS, FAMILIES, GROUPS, RULES, groups_of, with_bounds


def test_gophers_bounds_are_the_papers():
    bounds = {name: (rule.low, rule.high) for name, rule in RULES.items()}
    assert bounds["word_count"] == (50, 100_000)
    assert bounds["mean_word_length"] == (3, 10)
    assert bounds["hashes_per_word"] == bounds["ellipses_per_word"] == (None, 0.1)
    assert bounds["bullet_lines"] == (None, 0.9) and bounds["ellipsis_lines"] == (None, 0.3)
    assert bounds["words_with_a_letter"] == (0.8, None) and bounds["stop_words"] == (2, None)
    assert [bounds[f"top_{n}_gram"][1] for n in (2, 3, 4)] == [0.20, 0.18, 0.16]
    assert [bounds[f"duplicate_{n}_grams"][1] for n in range(5, 11)] == [0.15, 0.14, 0.13, 0.12, 0.11, 0.10]
    assert (bounds["duplicate_lines"][1], bounds["duplicate_line_characters"][1]) == (0.30, 0.20)


def test_finewebs_bounds_are_the_papers_and_remove_on_the_bound():
    punctuation, repeated, short = (
        RULES[name] for name in ("lines_with_punctuation", "repeated_line_characters", "short_lines")
    )
    assert (punctuation.low, repeated.high, short.high) == (0.12, 0.1, 0.67)
    assert not punctuation.allows(0.12) and punctuation.allows(0.13)
    assert not repeated.allows(0.1) and repeated.allows(0.09)
    assert RULES["word_count"].allows(50) and not RULES["word_count"].allows(49)


def test_every_rule_names_its_source_and_a_group_that_can_be_chosen():
    for rule in RULES.values():
        assert rule.source and rule.says and rule.group in GROUPS
    assert all(set(members) <= set(GROUPS) for members in FAMILIES.values())
    assert set(DEFAULT) <= set(GROUPS)


def test_the_default_removes_nothing_but_the_empty_and_the_repeated():
    removing = {rule.group for rule in RULES.values()} & set(DEFAULT) - {"privacy", "hidden"}
    assert removing == {"length", "exact"}


def test_families_and_words_for_all_are_groups():
    assert groups_of(("gopher",)) == {"gopher_quality", "gopher_repetition"}
    assert groups_of(("c4",)) == {"c4", "c4_lines"}
    assert groups_of(("default", "near")) == {*DEFAULT, "near"}
    assert groups_of(("all",)) == set(GROUPS) and groups_of(("none",)) == set()
    assert set(EDITS) <= groups_of(("all",))


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(GroundupError, match="did you mean 'gopher'"):
        groups_of(("gophr",))
    with pytest.raises(GroundupError, match="did you mean 'word_count'"):
        with_bounds({"word_cont": (1, 2)})


def test_bounds_can_be_changed_one_by_one():
    table = with_bounds({"word_count": (20, None)})
    assert (table["word_count"].low, table["word_count"].high) == (20, None)
    assert table["mean_word_length"] == RULES["mean_word_length"]
    with pytest.raises(GroundupError, match="5 to 2"):
        with_bounds({"word_count": (5, 2)})
