"""Examples on disk: what is made, what is refused with its line, and the rows a training reads."""

from __future__ import annotations

import json
import pydoc_data.topics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundup.chat.renderer import Renderer
from groundup.chat.templates import builtin
from groundup.core.errors import GroundupError
from groundup.data.batches import EvaluationBatches, TrainingBatches
from groundup.data.examples import Examples, PackedExamples, examples_key, make_examples
from groundup.data.reading_records import read_records
from groundup.data.windows import IGNORED_LABEL
from groundup.tokenization import train_tokenizer


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(train_tokenizer(list(pydoc_data.topics.topics.values())[:10], vocab_size=400), builtin("chatml"))


def talk(*contents: str, **more: Any) -> dict[str, Any]:
    roles = ["user", "assistant"] * len(contents)
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)], **more}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


GOOD = [talk("Hi", "Hello!"), talk("2+2?", "It is 4.", "Sure?", "Yes, I am."), talk("x " * 20, "Many of them.")]


def made(
    tmp_path: Path, rows: list[dict[str, Any]], renderer: Renderer, context_length: int = 64, **more: Any
) -> Examples:
    records = read_records(written(tmp_path / "talks.jsonl", rows), "conversation")
    return make_examples(records, renderer, tmp_path / "examples", context_length=context_length, **more)


def test_examples_are_the_renderings_up_to_the_last_answer(tmp_path: Path, renderer: Renderer) -> None:
    examples = made(tmp_path, GOOD, renderer)
    assert len(examples) == 3
    for n, row in enumerate(GOOD):
        rendered = renderer.render(row["messages"])
        end = rendered.answers[-1].end
        ids, trained = examples.example(n)
        assert ids.tolist() == rendered.ids[:end] and trained.tolist() == rendered.trained[:end]
    assert examples.manifest["n_trained"] == sum(sum(renderer.render(row["messages"]).trained) for row in GOOD)


BAD = {
    "the roles are in a wrong order": {
        "messages": [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Hi"}]
    },
    "message 2 is of role user, after user": {
        "messages": [{"role": "user", "content": "a"}] * 2 + GOOD[0]["messages"][1:]
    },
    "the last message is of role user": talk("a", "b", "c"),
    "no answer is to be trained": {"messages": [*GOOD[0]["messages"][:1], GOOD[0]["messages"][1] | {"weight": 0}]},
    "the answer does not fit 64 positions": talk("x " * 100, "y"),
}


@pytest.mark.parametrize("reason", BAD)
def test_what_cannot_be_learned_is_refused_with_its_line(reason: str, tmp_path: Path, renderer: Renderer) -> None:
    rows = [*GOOD, BAD[reason]]
    with pytest.raises(GroundupError, match=r"1 of 4 .*talks\.jsonl:4\).*max_rejected") as raised:
        made(tmp_path, rows, renderer)
    assert not (tmp_path / "examples").exists()
    examples = made(tmp_path, rows, renderer, max_rejected=0.25)
    assert len(examples) == 3 and examples.manifest["n_rejected"] == 1
    # What is the same for all such rows is counted; what is this row's own is not in the sentence.
    assert reason.split(":")[0] in str(raised.value) or "roles are in a wrong order" in str(raised.value)


def test_rows_that_reading_refused_count_too(tmp_path: Path, renderer: Renderer) -> None:
    with pytest.raises(GroundupError, match="2 of 5"):
        made(tmp_path, [*GOOD, talk("only a question"), {"messages": [{"role": "boss", "content": "x"}]}], renderer)


def test_an_answer_is_whole_or_not_there(tmp_path: Path, renderer: Renderer) -> None:
    rendered = renderer.render(GOOD[1]["messages"])
    first, second = rendered.answers
    for context in range(first.end - 1, second.end + 2):
        ids, trained = made(tmp_path, [GOOD[1]], renderer, context).example(0)
        wanted = second.end if context + 1 >= second.end else first.end
        assert len(ids) == wanted and ids[-1] == renderer.stop_ids[0] and trained[-1]
    with pytest.raises(GroundupError, match="does not fit"):
        made(tmp_path, [GOOD[1]], renderer, first.end - 2)


@pytest.mark.parametrize("packing", ["best-fit", "none"])
def test_rows_hold_every_example_once_and_learn_only_answers(packing: str, tmp_path: Path, renderer: Renderer) -> None:
    examples = made(tmp_path, GOOD * 5, renderer)
    rows = PackedExamples(examples, 64, packing)
    inputs, labels, documents = rows.rows(np.arange(len(rows)))
    assert sorted(n for row in range(len(rows)) for n in rows.in_row(row)) == list(range(15))
    assert (labels != IGNORED_LABEL).sum() == examples.manifest["n_trained"]
    for row in range(len(rows)):
        place = 0
        for number, n in enumerate(rows.in_row(row)):
            ids, trained = examples.example(n)
            here = slice(place, place + len(ids) - 1)
            assert inputs[row, here].tolist() == ids[:-1].tolist()
            assert labels[row, here].tolist() == np.where(trained[1:], ids[1:], IGNORED_LABEL).tolist()
            assert (documents[row, here] == number).all()
            place = here.stop
        assert (labels[row, place:] == IGNORED_LABEL).all() and number + 1 not in documents[row, :place]
    if packing == "best-fit":
        assert len(rows) < 15
    else:
        assert rows.context_length == (examples.lengths - 1).max()


def test_batches_read_them(tmp_path: Path, renderer: Renderer) -> None:
    examples = made(tmp_path, GOOD * 5, renderer)
    rows = PackedExamples(examples, 64)
    batches = TrainingBatches(rows, batch_size=4, micro_batch_size=2, seed=1)
    again = TrainingBatches(rows, batch_size=4, micro_batch_size=2, seed=1)
    assert all((a.tokens_BT == b.tokens_BT).all() for a, b in zip(batches(7), again(7), strict=True))
    total = sum(batch.n_targets for batch in EvaluationBatches(rows, 4))
    assert total == examples.manifest["n_trained"]


def test_the_key_knows_what_examples_were_made_of(tmp_path: Path, renderer: Renderer) -> None:
    file = written(tmp_path / "talks.jsonl", GOOD)
    key = examples_key([file], renderer, 64)
    made(tmp_path, GOOD, renderer, key=key)
    assert len(Examples.open(tmp_path / "examples", key)) == 3
    assert examples_key([written(tmp_path / "copy.jsonl", GOOD)], renderer, 64) == key
    others = [examples_key([written(tmp_path / "b.jsonl", GOOD[:2])], renderer, 64), examples_key([file], renderer, 65)]
    others.append(examples_key([file], Renderer(renderer.tokenizer, builtin("alpaca")), 64))
    assert len({key, *others}) == 4
    with pytest.raises(GroundupError, match="make them again"):
        Examples.open(tmp_path / "examples", others[0])


def test_rows_that_cannot_be_are_refused(tmp_path: Path, renderer: Renderer) -> None:
    examples = made(tmp_path, GOOD, renderer)
    longest = int(examples.lengths.max()) - 1
    assert PackedExamples(examples, longest).context_length == longest
    with pytest.raises(GroundupError, match=f"longest example has {longest} positions, a row only {longest - 1}"):
        PackedExamples(examples, longest - 1)
    with pytest.raises(GroundupError, match="did you mean 'best-fit'"):
        PackedExamples(examples, 64, "bestfit")
    with pytest.raises(GroundupError, match=r"writes <\|end\|>, which"):
        make_examples([], Renderer(renderer.tokenizer, builtin("phi")), tmp_path / "none", context_length=64)
    with pytest.raises(GroundupError, match="no conversation to learn from"):
        make_examples([], renderer, tmp_path / "none", context_length=64)


def test_damaged_examples_are_named(tmp_path: Path, renderer: Renderer) -> None:
    made(tmp_path, GOOD, renderer)
    folder = tmp_path / "examples"
    (folder / "trained.bin").write_bytes(b"")
    with pytest.raises(GroundupError, match="are damaged"):
        Examples.open(folder)
    (folder / "trained.bin").unlink()
    with pytest.raises(GroundupError, match=r"trained\.bin is missing"):
        Examples.open(folder)
    with pytest.raises(GroundupError, match="there are no examples in"):
        Examples.open(tmp_path)
