"""Questions from files of every kind, answers by a tiny model, and the figures of known answers."""

from __future__ import annotations

import json
import pydoc_data.topics
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.evaluation.answers import (
    FIGURES,
    Question,
    answer_rows,
    evaluate_answers,
    figures,
    read_answers,
    read_questions,
    summary_lines,
)
from groundup.evaluation.constraints import Constraint
from groundup.generation.text_model import ChatAnswer, TextModel
from groundup.inspect.answers import answers_html
from groundup.models import build_model, config_for_size
from groundup.tokenization import train_tokenizer

from .test_judge import judge_that

NO_COMMA, LOWER = Constraint("punctuation:no_comma", {}), Constraint("change_case:english_lowercase", {})


@pytest.fixture(scope="module")
def model() -> TextModel:
    tokenizer = train_tokenizer(list(pydoc_data.topics.topics.values())[:10], vocab_size=400)
    sizes = {"d_model": 16, "d_head": 8}
    return TextModel(build_model(config_for_size("d1", 400, 96, "qwen3", **sizes), 0), tokenizer, template="chatml")


def conversations(place: Path, n: int = 3) -> Path:
    rows = [{"instruction": f"Say {i}", "input": "", "output": f"It is {i}."} for i in range(n)]
    place.write_text(json.dumps(rows))
    return place


def test_the_last_answer_is_the_reference(tmp_path: Path):
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "e")]
    row = {"messages": [{"role": role, "content": text} for role, text in turns]}
    (tmp_path / "turns.jsonl").write_text(json.dumps(row) + "\n")
    [question] = read_questions(tmp_path / "turns.jsonl")
    assert [message["content"] for message in question.messages] == ["a", "b", "c"]
    assert question.reference == "d"
    assert len(read_questions(conversations(tmp_path / "many.json", 9), limit=4)) == 4


def test_prompts_with_constraints(tmp_path: Path):
    row = {"prompt": "x", "instruction_id_list": [NO_COMMA.name], "kwargs": [{}]}
    (tmp_path / "c.jsonl").write_text(json.dumps(row) + "\n")
    assert read_questions(tmp_path / "c.jsonl") == [
        Question(({"role": "user", "content": "x"},), constraints=(NO_COMMA,))
    ]
    (tmp_path / "c.jsonl").write_text(json.dumps(row | {"instruction_id_list": ["no:such"]}) + "\n")
    with pytest.raises(GroundupError, match=r"c.jsonl:1: unknown constraint 'no:such'"):
        read_questions(tmp_path / "c.jsonl")
    assert len(read_questions("constraints")) == 12


def test_figures_of_known_answers():
    user = ({"role": "user", "content": "?"},)
    questions = [Question(user, reference="red"), Question(user, reference="blue", constraints=(NO_COMMA, LOWER))]
    found = figures(questions, [ChatAnswer("Red.", "end"), ChatAnswer("Hm, green\nno comma", "length")])
    assert (found.n_answers, found.ended_share, found.mean_words) == (2, 0.5, 2.5)
    assert found.overlap and (found.overlap.exact_match, found.overlap.f1) == (0.5, 0.5)
    assert found.followed
    assert (found.followed.prompts_strict, found.followed.constraints_strict) == (0, 0)
    # loosely, without its first line, both are followed
    assert (found.followed.prompts_loose, found.followed.constraints_loose, found.followed.n_constraints) == (1, 1, 2)


def test_a_model_answers_a_file_and_a_judge_compares(model: TextModel, tmp_path: Path):
    with judge_that(lambda prompt: "verdict: B") as judge:
        found = evaluate_answers(
            model, conversations(tmp_path / "q.json"), tmp_path / "out", judge=judge, max_new_tokens=5, name="<mine>"
        )
    rows = read_answers(tmp_path / "out")
    assert [row["reference"] for row in rows] == ["It is 0.", "It is 1.", "It is 2."]
    assert all(row["answers"]["<mine>"]["text"] for row in rows)
    assert json.loads((tmp_path / "out" / FIGURES).read_text()) == found
    assert found["judge"]["verdicts"] == {"first": 0, "second": 0, "tie": 3, "orders disagree": 3}
    page = answers_html(rows, found, "t")
    assert "&lt;mine&gt;" in page and "<mine>" not in page
    assert "The order in which the answers stand" in page  # what the judge was asked is shown
    assert summary_lines(found)[0].startswith("<mine>: 3 answers")


def test_two_models_and_constraints_side_by_side(model: TextModel, tmp_path: Path):
    found = evaluate_answers(
        model, "constraints", tmp_path, against=model, against_name="same", limit=3, max_new_tokens=4
    )
    assert found["figures"]["model"] == found["figures"]["same"]
    assert found["figures"]["model"]["followed"]["n_constraints"] == 3
    same = read_answers(tmp_path)[0]["answers"]["same"]
    assert same["followed"] == [bool(same["text"].strip())]  # four tokens are fewer than 20 words
    assert "length_constraints:number_words" in answers_html(read_answers(tmp_path), found, "t")


def test_what_cannot_be_asked(model: TextModel, tmp_path: Path):
    (tmp_path / "long.json").write_text(json.dumps([{"instruction": "x " * 500, "input": "", "output": "y"}]))
    with pytest.raises(GroundupError, match="leaves room"):
        evaluate_answers(model, tmp_path / "long.json", tmp_path / "out")
    with judge_that(lambda prompt: "verdict: A") as judge, pytest.raises(GroundupError, match="compares two"):
        evaluate_answers(model, "constraints", tmp_path / "out", judge=judge, limit=1, max_new_tokens=2)
    with pytest.raises(GroundupError, match="is missing"):
        read_answers(tmp_path)


def test_rows_keep_line_ends_that_people_write(tmp_path: Path):
    from groundup.evaluation.answers import write_rows

    question = Question(({"role": "user", "content": "a\u2028b\x85c"},))
    write_rows(tmp_path / "answers.jsonl", answer_rows([question], {"m": [ChatAnswer("x\u2029", "end")]}))
    [row] = read_answers(tmp_path)
    assert row["messages"][0]["content"] == "a\u2028b\x85c" and row["answers"]["m"]["text"] == "x\u2029"
