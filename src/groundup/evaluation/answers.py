"""A model's answers to prompts it did not learn from, and how good they are.

One idea: a file of conversations is a file of questions with answers: what comes before the last answer is asked, the last
answer is the reference. A file in IFEval's form (prompt, instruction_id_list, kwargs) has constraints instead. Answers are kept
as rows of `answers.jsonl`, so that a report, a judge and a person who reviews them see the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from groundup.core.errors import GroundupError
from groundup.core.files import write_atomically, write_json
from groundup.core.progress import QUIET, Reporter
from groundup.data.reading import ROW_READERS, Reading, read_rows
from groundup.data.reading_records import Records, read_records
from groundup.data.records import Conversation
from groundup.data.remarks import Remarks
from groundup.data.sources import Source
from groundup.evaluation.constraint_prompts import CONSTRAINT_PROMPTS
from groundup.evaluation.constraints import Constraint, constraints_of, follow
from groundup.evaluation.judge import PROMPT as JUDGE_PROMPT
from groundup.evaluation.judge import Judge, Judgement, Pair, judge_pairs, tally
from groundup.evaluation.text_overlap import Overlap, mean_overlap, overlap
from groundup.generation.text_model import ChatAnswer, TextModel

OUR_PROMPTS = "constraints"  # the name that means our own prompts, where a file is asked for
ANSWERS, FIGURES = "answers.jsonl", "answers.json"
LEAST_ROOM = 16  # tokens of the context that a prompt must leave for its answer
BATCH_SIZE = 16


@dataclass(frozen=True)
class Question:
    """Messages to answer; `reference` is what people answered, `constraints` what the answer was asked to be."""

    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...] = ()
    reference: str | None = None
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True)
class FollowedShares:
    """Shares of constraints followed: of prompts with all of theirs, and of single constraints; strict and loose."""

    prompts_strict: float
    prompts_loose: float
    constraints_strict: float
    constraints_loose: float
    n_constraints: int


@dataclass(frozen=True)
class AnswerFigures:
    """What a model's answers came to."""

    n_answers: int
    ended_share: float  # that the model ended itself
    mean_words: float
    overlap: Overlap | None  # with the references, where there are any
    followed: FollowedShares | None  # where there are constraints


def read_questions(path: str | Path, *, limit: int | None = None) -> list[Question]:
    """The questions in a file, `limit` of them at most; "constraints" means our own prompts.

    Raises `GroundupError` when there are none.
    """
    if str(path) == OUR_PROMPTS and not Path(path).exists():
        questions = (_constrained(row) for row in CONSTRAINT_PROMPTS)
    else:
        records = read_records(str(path), "conversation")
        questions = (one for source in records.sources for one in _questions_of(records, source))
    found = list(islice(questions, limit))
    if not found:
        raise GroundupError(f"{path} holds no question: conversations with an answer, or prompts with constraints")
    return found


def question_of(conversation: Conversation) -> Question | None:
    """What comes before the last answer, and that answer; None when it was no text, or nothing comes before it."""
    places = [n for n, message in enumerate(conversation.messages) if message["role"] == "assistant"]
    if not places or places[-1] == 0:
        return None
    answer = conversation.messages[places[-1]]["content"]
    return Question(conversation.messages[: places[-1]], conversation.tools, answer) if answer else None


def answerable(model: TextModel, questions: Sequence[Question]) -> list[Question]:
    """The questions that leave room in the model's context for an answer."""
    length = model.model.config.max_length
    if length is None:
        return list(questions)
    return [q for q in questions if len(model.renderer.prompt(q.messages, q.tools)) <= length - LEAST_ROOM]


def answer_all(
    model: TextModel, questions: Sequence[Question], *, reporter: Reporter = QUIET, **settings: Any
) -> list[ChatAnswer]:
    """The answer to each question, greedily unless `settings` (of `SamplingSettings`) say otherwise."""
    found: list[ChatAnswer] = []
    with reporter.bar("answering", len(questions), "questions") as bar:
        for start in range(0, len(questions), BATCH_SIZE):
            some = [(one.messages, one.tools) for one in questions[start : start + BATCH_SIZE]]
            found += model.answers(some, batch_size=BATCH_SIZE, **({"temperature": 0.0} | settings))
            bar.advance(len(some))
    return found


def figures(questions: Sequence[Question], answers: Sequence[ChatAnswer]) -> AnswerFigures:
    """Every figure there is ground for."""
    pairs = list(zip(questions, answers, strict=True))
    overlaps = [overlap(answer.text, one.reference) for one, answer in pairs if one.reference is not None]
    return AnswerFigures(
        n_answers=len(pairs),
        ended_share=sum(answer.finish == "end" for answer in answers) / len(pairs),
        mean_words=sum(len(answer.text.split()) for answer in answers) / len(pairs),
        overlap=mean_overlap(overlaps) if overlaps else None,
        followed=_followed([(one.constraints, answer.text) for one, answer in pairs if one.constraints]),
    )


def answer_rows(questions: Sequence[Question], answers: Mapping[str, Sequence[ChatAnswer]]) -> list[dict[str, Any]]:
    """One row a question, with the answers of each who answered it (`before`, `after`, a model's name), by name."""
    rows = []
    for number, one in enumerate(questions):
        said = {name: asdict(theirs[number]) for name, theirs in answers.items()}
        row = {"messages": list(one.messages), "tools": list(one.tools), "reference": one.reference, "answers": said}
        if one.constraints:
            row["instruction_id_list"] = [constraint.name for constraint in one.constraints]
            row["kwargs"] = [dict(constraint.arguments) for constraint in one.constraints]
            for answer in said.values():
                followed = follow(answer["text"], one.constraints)
                answer |= {"followed": list(followed.strict), "followed_loosely": list(followed.loose)}
        rows.append(row)
    return rows


def write_rows(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines, whole or not at all."""
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_answers(path: str | Path) -> list[dict[str, Any]]:
    """The rows of an `answers.jsonl`, or of the one in a folder.

    Raises `GroundupError` when there is none, or a line is no such row.
    """
    path = Path(path) / ANSWERS if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise GroundupError(
            f"{path} is missing: `groundup finetune instruct` and `groundup eval answers` write it into their folders"
        )
    rows = []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # people's text may hold other line ends
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            raise GroundupError(f"{path}, line {number}: not valid JSON") from None
        if not isinstance(row, dict) or not {"messages", "answers"} <= set(row):
            raise GroundupError(f"{path}, line {number}: no row of answers (it has no messages or no answers)")
        rows.append(row)
    return rows


def summary_lines(found: Mapping[str, Any]) -> list[str]:
    """What `evaluate_answers` found, in a few lines for the terminal."""
    lines = []
    for name, one in found["figures"].items():
        lines.append(f"{name}: {one['n_answers']:,} answers, {one['ended_share']:.1%} ended by the model itself")
        if same := one["overlap"]:
            lines.append(f"  exact match {same['exact_match']:.1%}, F1 {same['f1']:.1%}, ROUGE-L {same['rouge_l']:.1%}")
        if followed := one["followed"]:
            strict, loose = followed["constraints_strict"], followed["constraints_loose"]
            lines.append(
                f"  of {followed['n_constraints']:,} constraints followed: {strict:.1%} strict, {loose:.1%} loose"
            )
    if judge := found.get("judge"):
        verdicts = judge["verdicts"]
        lines.append(
            f"judge {judge['model']}: {judge['first']} {verdicts['first']:,}, {judge['second']} {verdicts['second']:,}, "
            f"ties {verdicts['tie']:,} (orders disagree: {verdicts['orders disagree']:,})"
        )
    return lines


def evaluate_answers(
    model: TextModel,
    path: str | Path,
    out: str | Path,
    *,
    name: str = "model",
    against: TextModel | None = None,
    against_name: str = "other",
    judge: Judge | None = None,
    limit: int | None = None,
    reporter: Reporter = QUIET,
    **settings: Any,
) -> dict[str, Any]:
    """Let `model`, and another `against` it, answer the questions of a file; measure, and let a judge compare.

    The judge compares the two models' answers or, without another model, the answers with the references. Writes
    `answers.jsonl` and `answers.json` into `out` and returns what the second holds. Raises `GroundupError` when no question can be
    asked, or a judge has nothing to compare.
    """
    asked = read_questions(path, limit=limit)
    writers = {name: model} | ({against_name: against} if against else {})
    questions = asked
    for writer in writers.values():
        questions = answerable(writer, questions)
    if not questions:
        raise GroundupError(f"no question of {path} leaves room in the context for an answer")
    if len(questions) < len(asked):
        reporter.warn(
            f"{len(asked) - len(questions):,} of {len(asked):,} questions are too long for the context; left out"
        )
    answers = {who: answer_all(writer, questions, reporter=reporter, **settings) for who, writer in writers.items()}
    rows = answer_rows(questions, answers)
    found: dict[str, Any] = {
        "questions": str(path),
        "n_left_out": len(asked) - len(questions),
        "figures": {who: asdict(figures(questions, theirs)) for who, theirs in answers.items()},
    }
    if judge is not None:
        found["judge"] = _judge(judge, rows, list(writers), reporter)
    write_rows(Path(out) / ANSWERS, rows)
    write_json(Path(out) / FIGURES, found)
    return found


def _judge(judge: Judge, rows: list[dict[str, Any]], names: list[str], reporter: Reporter) -> dict[str, Any]:
    """Let the judge compare; its verdicts join the rows."""
    second = names[1] if len(names) > 1 else "reference"
    pairs, judged = [], []
    for row in rows:
        other = row["answers"][second]["text"] if len(names) > 1 else row["reference"]
        if other is not None:
            judged.append(row)
            pairs.append(Pair(row["messages"], row["answers"][names[0]]["text"], other))
    if not pairs:
        raise GroundupError(
            "a judge compares two answers: name another model (against), or take a file with references"
        )
    found: list[Judgement] = judge_pairs(judge, pairs, reporter=reporter)
    for row, one in zip(judged, found, strict=True):
        row["judgement"] = asdict(one)
    return {
        "url": judge.url,
        "model": judge.model,
        "first": names[0],
        "second": second,
        "verdicts": tally(found),
        "prompt": JUDGE_PROMPT,
    }


def _followed(checked: Sequence[tuple[Sequence[Constraint], str]]) -> FollowedShares | None:
    if not checked:
        return None
    found = [follow(answer, constraints) for constraints, answer in checked]
    strict = [one for each in found for one in each.strict]
    loose = [one for each in found for one in each.loose]
    return FollowedShares(
        prompts_strict=sum(all(each.strict) for each in found) / len(found),
        prompts_loose=sum(all(each.loose) for each in found) / len(found),
        constraints_strict=sum(strict) / len(strict),
        constraints_loose=sum(loose) / len(loose),
        n_constraints=len(strict),
    )


def _questions_of(records: Records, source: Source) -> Iterator[Question]:
    if source.kind in ROW_READERS:
        rows = read_rows(source, Reading(), Remarks())
        for number, row in rows:
            if "instruction_id_list" not in row:
                break
            yield _constrained(row, f"{source}:{number}: ")
        else:
            return
    for record in records.of(source):
        if isinstance(record, Conversation) and (one := question_of(record)):
            yield one


def _constrained(row: Mapping[str, Any], where: str = "") -> Question:
    prompt = row.get("prompt")
    if not isinstance(prompt, str):
        raise GroundupError(f"{where}a row with instruction_id_list has a prompt, which is text; found {prompt!r}")
    try:
        return Question(({"role": "user", "content": prompt},), constraints=constraints_of(row))
    except GroundupError as error:
        raise GroundupError(f"{where}{error}") from None
