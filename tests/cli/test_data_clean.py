"""`groundup data inspect` and `groundup data clean` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from groundup.cli import cli
from groundup.cli._cleaning import settings_from
from groundup.core.errors import GroundupError


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    texts = ["A sentence with jane@example.org in it.", "A sentence with jane@example.org in it.", "Another one.", " "]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return tmp_path / "a.jsonl"


def run(*arguments: object):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=True)


def test_inspect_reports_and_changes_nothing(corpus, tmp_path):
    before = sorted(path.name for path in tmp_path.iterdir())
    result = run("data", "inspect", corpus, "--out", tmp_path / "page.html", "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "4 documents" in result.output and "exact_duplicate" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [*before, "page.html"]


def test_clean_writes_and_says_where(corpus, tmp_path):
    out = tmp_path / "clean"
    result = run("data", "clean", corpus, "--out", out, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "exact_duplicate: 1 document" in result.output and "kept 2" in result.output
    assert {path.name for path in out.iterdir()} == {
        *("part-00000.jsonl.gz", "removed.jsonl", "report.html", "report.json", "settings.yaml")
    }
    again = run("data", "clean", corpus, "--out", out, "--config", out / "settings.yaml", "--workers", 1)
    assert "nothing to do" in again.output


def test_a_rule_that_takes_most_of_the_text_is_told(corpus, tmp_path):
    result = run("data", "clean", corpus, "--out", tmp_path / "out", "--rules", "gopher", "--workers", 1)
    assert "more than half of the documents were removed" in result.output
    result = run("data", "clean", corpus, "--out", tmp_path / "all", "--rules", "length", "--workers", 1)
    assert "more than half" not in result.output


def given(**values):
    empty = {"config_file": None, "against": (), "block": (), "privacy": (), "thresholds": ()}
    return empty | values


def test_flags_become_settings(tmp_path):
    settings = settings_from(
        given(
            rules="default, gopher",
            language="en,de",
            privacy=("email=drop",),
            thresholds=("word_count=20:", "top_2_gram=:0.5"),
        )
    )
    assert settings.rules == ("default", "gopher") and settings.language == ("en", "de")
    assert settings.actions["email"] == "drop"
    assert settings.thresholds == {"word_count": (20, None), "top_2_gram": (None, 0.5)}
    (tmp_path / "clean.yaml").write_text("rules: [default, near]\nnear_threshold: 0.9\n")
    from_file = settings_from(given(config_file=tmp_path / "clean.yaml", near_threshold="0.7"), default_rules=("all",))
    assert from_file.rules == ("default", "near") and from_file.near_threshold == 0.7


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"privacy": ("email",)}, "write --privacy email=drop"),
        ({"privacy": ("email=hide",)}, "'hide'"),
        ({"thresholds": ("word_count=20",)}, "write word_count=LOW:HIGH"),
        ({"thresholds": ("word_count=a:b",)}, "write word_count=LOW:HIGH"),
        ({"rules": "gohper"}, "did you mean 'gopher'"),
    ],
)
def test_mistakes_are_told(values, message):
    with pytest.raises(GroundupError, match=message):
        settings_from(given(**values))
