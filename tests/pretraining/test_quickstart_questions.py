"""Questions from the running Python's documentation: what is asked, what is held out, the same bytes each time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.data.reading_records import read_records
from groundup.data.records import Conversation
from groundup.pretraining.quickstart_questions import (
    HELD_OUT,
    TRAIN,
    explained_names,
    first_sentence,
    write_quickstart_questions,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("questions") / "q"
    found = write_quickstart_questions(folder)
    assert found.n_train == len(pairs(folder / TRAIN))
    assert found.n_held_out == len(pairs(folder / HELD_OUT))
    assert found.n_train > 5000 and found.n_held_out > 100, str(found)
    return folder


def pairs(file: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line)["messages"] for line in file.read_text(encoding="utf-8").splitlines()]
    assert all([message["role"] for message in row] == ["user", "assistant"] for row in rows)
    return [(row[0]["content"], row[1]["content"]) for row in rows]


def test_the_question_of_the_issue_is_learned(folder: Path):
    answers = {answer for question, answer in pairs(folder / TRAIN) if " os.path.join" in f" {question}"}
    assert answers == {"Join two or more pathname components, inserting '/' as needed."}


def test_every_answer_is_one_sentence(folder: Path):
    for _, answer in pairs(folder / TRAIN) + pairs(folder / HELD_OUT):
        assert "\n" not in answer and 10 <= len(answer) <= 160
        assert answer[0].isupper() and answer[-1] in ".!?"


def test_held_out_names_are_never_asked_about_in_training(folder: Path):
    asked = {question for question, _ in pairs(folder / TRAIN)}
    words = {word.strip("?.") for question in asked for word in question.split()}
    names = {one.name for one in explained_names()}
    held_out = {word.strip("?.") for question, _ in pairs(folder / HELD_OUT) for word in question.split()} & names
    assert len(held_out) > 100
    assert not (held_out & words) - {"class", "help", "one", "module"}  # words of the phrasings that are names too


def test_the_same_python_gives_the_same_bytes(folder: Path, tmp_path: Path):
    write_quickstart_questions(tmp_path / "again")
    for name in (TRAIN, HELD_OUT):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_they_are_conversations_to_the_reader(folder: Path):
    records = read_records(folder / HELD_OUT)
    assert all(isinstance(record, Conversation) for record in records)
    assert records.n_rejected == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Return the time, e.g. now. And more.", "Return the time, e.g. now."),
        ("Join two\n  or more paths\n\nThen more.", "Join two or more paths."),
        ("Open the file a.txt. Close it.", "Open the file a.txt."),
        ("lower case begins no sentence here.", None),
        ("Short.", None),
        ("Long " * 60, None),
    ],
)
def test_first_sentences(text: str, sentence: str | None):
    assert first_sentence(text) == sentence
