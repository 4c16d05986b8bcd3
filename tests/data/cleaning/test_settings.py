"""Settings of cleaning: what is on, and no setting without an effect."""

from __future__ import annotations

import pytest

from groundup.core.errors import GroundupError
from groundup.data.cleaning.settings import CleanConfig


def test_the_defaults_mask_all_but_addresses_of_computers():
    actions = CleanConfig().actions
    assert actions == dict.fromkeys(("email", "phone", "card", "iban", "key"), "mask") | {"ip": "report"}
    assert CleanConfig(privacy={"email": "drop"}).actions["email"] == "drop"


def test_a_setting_of_its_own_turns_its_rules_on():
    assert "block" in CleanConfig(block=("x",)).groups
    assert "language" in CleanConfig(language=("en",)).groups
    assert "contamination" in CleanConfig(against=("a.jsonl",)).groups


def test_only_rules_that_can_fail_are_active():
    assert {"language_is", "personal_data", "hidden_characters", "blocked"}.isdisjoint(
        CleanConfig(rules=("all",)).active
    )
    active = CleanConfig(language=("en",), privacy={"email": "drop"}, hidden="drop", block=("x",)).active
    assert {"language_is", "personal_data", "hidden_characters", "blocked"} <= set(active)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"near_threshold": 0.9}, "near_threshold has no effect"),
        ({"rules": ["length"], "hidden": "drop"}, "hidden has no effect"),
        ({"rules": ["length"], "privacy": {"email": "mask"}}, "privacy has no effect"),
        ({"thresholds": {"word_count": [20, None]}}, "word_count have no effect"),
        ({"rules": ["block"]}, "no effect without block"),
        ({"rules": ["gophr"]}, "did you mean 'gopher'"),
        ({"privacy": {"emial": "mask"}}, "did you mean 'email'"),
        ({"shards": 3}, "unknown setting 'shards'"),
        ({"rules": " ,"}, "rules: no name in it"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_nothing_listens_to_is_an_error(values, message):
    with pytest.raises(GroundupError, match=message):
        CleanConfig.build(values)


def test_written_and_read_back(tmp_path):
    settings = CleanConfig(rules=("default", "gopher"), thresholds={"word_count": (20, None)}, privacy={"ip": "mask"})
    settings.write(tmp_path / "clean.yaml")
    assert CleanConfig.read(tmp_path / "clean.yaml") == settings


def test_names_may_be_written_in_a_row():
    assert CleanConfig.build({"rules": "default, gopher", "language": "en"}).rules == ("default", "gopher")
