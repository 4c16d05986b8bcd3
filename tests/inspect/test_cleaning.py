"""The page and the tables on what cleaning found: numbers where they belong, nothing of the text obeyed."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from groundup.core.errors import GroundupError
from groundup.data.cleaning.clean import INSPECTED, clean, inspect_corpus
from groundup.data.cleaning.settings import CleanConfig
from groundup.inspect.cleaning import cleaning_html, cleaning_terminal


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    texts = [
        "<script>alert('x')</script> short",
        "Write to jane@example.org about the hid\u200bden thing, \x1b[31mplease.",
        "the same text twice",
        "the same text twice",
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return inspect_corpus(folder, config=CleanConfig(rules=INSPECTED), n_workers=1)


def printed(numbers) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(cleaning_terminal(numbers))
    return console.export_text()


def test_the_page_shows_text_and_never_runs_it(numbers):
    page = cleaning_html(numbers)
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert "\x1b" not in page and "jane@" not in page
    assert "http" not in page.replace("http-equiv", "")  # needs no network


def test_the_page_has_the_counts_of_every_rule_and_their_sources(numbers):
    page = cleaning_html(numbers)
    for rule in numbers["rules"]:
        assert rule["name"] in page and rule["source"].replace("'", "&#x27;") in page
    assert "Rae et al. 2021" in page and "exact_duplicate" in page and "U+200B" in page
    assert "would be masked" in page and "Nothing was changed" in page


def test_the_terminal_shows_what_was_found_and_names_the_rest(numbers):
    shown = printed(numbers)
    assert "\x1b[31m" not in shown and "jane@" not in shown
    line = next(line for line in shown.splitlines() if line.startswith("word_count"))
    assert line.split()[1:] == ["50", "to", "100,000", "4", "100.0", "%", str(numbers["n_bytes"]), "bytes"]
    assert "kept by all documents: " in shown and "curly_brackets" in shown
    assert "exact_duplicate 1:" in shown
    assert "not measured on any document: " in shown.replace("\n", " ") and "perplexity" in shown  # four are too few


def test_a_cleaned_corpus_says_what_was_done(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "Write to jane@example.org."}) + "\n")
    page = cleaning_html(clean(tmp_path / "a.jsonl", tmp_path / "out", n_workers=1))
    assert "What cleaning did" in page and "masked" in page and "would be" not in page
    assert "removed.jsonl" in page and "part-00000.jsonl.gz" in page


def test_a_corpus_without_text_has_no_report(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": None}) + "\n")
    with pytest.raises(GroundupError, match="there is no text in it, only blanks or nothing: 1 row without text"):
        inspect_corpus(tmp_path / "a.jsonl", config=CleanConfig(rules=("length",)), n_workers=1)
