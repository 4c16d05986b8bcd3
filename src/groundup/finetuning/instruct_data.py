"""Conversations into a run folder: read, split, rendered; what cannot be learned from is refused with its line.

The one idea: which side of the split a conversation falls on is decided by what comes before its last answer, so the same
question is never on both, whatever the order of the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from groundup.core.config import Count
from groundup.core.errors import GroundupError
from groundup.core.files import write_json
from groundup.core.progress import Reporter
from groundup.core.runs import RunFolder
from groundup.data.examples import Examples, make_examples
from groundup.data.reading_records import Records
from groundup.data.records import Conversation, Record
from groundup.evaluation.answers import Question, answer_rows, question_of, write_rows
from groundup.finetuning.chat_rows import (
    ChatConfig,
    check_rejected,
    held_out,
    open_renderer,
    prompt_key,
    read,
    validation_share,
)

LONGEST_CONTEXT = 2048  # derived; more is asked for by name, since memory grows with it
MOST_VALIDATION = 500  # conversations; the loss of so many is known to a few percent
N_QUESTIONS = 16
SPARE = 4  # times as many questions are noted, for some may leave no room for an answer
QUESTIONS, SPLIT = "questions.jsonl", "split.json"


class InstructConfig(ChatConfig):
    """Settings of `groundup finetune instruct`; None means: derived."""

    method: Literal["instruct"] = "instruct"  # pyright: ignore[reportIncompatibleVariableOverride]
    packing: Literal["best-fit", "none"] = Field(
        default="best-fit", description="Several examples a row, or each alone."
    )
    questions: Count | None = Field(
        default=None, description="Held-out prompts answered before and after; 16 if left out."
    )


def collect(config: InstructConfig, run: RunFolder, reporter: Reporter) -> None:
    """Render the conversations into `data/train` and `data/validation` of the run folder; at once when that is done."""
    data = run.path / "data"
    if (data / SPLIT).is_file():
        return
    renderer, length = open_renderer(config, LONGEST_CONTEXT, reporter)
    records = read(config, config.data, "conversation")
    prompts = [_prompt_hash(one) for one in records]
    for line in records.summary():
        reporter.say(line)
    check_rejected(records.n_rejected, records.n_rows, _reasons(records), config)
    share = validation_share(config, len(prompts))
    is_held_out = held_out(prompts, share, config.seed)
    sides: dict[str, tuple[Iterator[Conversation], int]] = {
        "train": (_where(records, is_held_out, False), is_held_out.count(False)),
        "validation": (_where(records, is_held_out, True), is_held_out.count(True)),
    }
    if config.validation_data:
        others = read(config, config.validation_data, "conversation")
        n = sum(1 for _ in others)
        sides["validation"] = (_where(others, [True] * n, True), n)
    questions: list[tuple[str, Question]] = []
    made: list[Examples] = []
    for side, (conversations, total) in sides.items():
        if side == "validation":
            most = SPARE * (config.questions or N_QUESTIONS)
            conversations = _noting_questions(conversations, questions, most)
        try:
            examples = make_examples(
                conversations,
                renderer,
                data / side,
                context_length=length,
                max_rejected=1.0,  # a share of both sides together is judged below
                total=total,
                reporter=reporter,
            )
        except GroundupError as error:
            raise GroundupError(f"{side}: {error}{_more_validation(side, total)}") from None
        made.append(examples)
        for line in examples.summary():
            reporter.say(f"{side:<12}{line}")
    _check_refused(made, config)
    write_rows(data / QUESTIONS, answer_rows([one for _, one in questions], {}))
    write_json(
        data / SPLIT,
        {
            "validation_fraction": share,
            "sources": [str(file.source) for file in records.files],
            "unread": {"n": records.n_rejected, "first": records.rejections[:20]},
            "template": {"name": renderer.template.name, "source": renderer.template.source},
        },
    )


def _reasons(records: Records) -> str:
    return "; ".join(f"{place}: {why}" for place, why in records.rejections[:3])


def _check_refused(made: Sequence[Examples], config: InstructConfig) -> None:
    """Refuse a run that would leave out more than a small share of the conversations."""
    n = sum(each.manifest["n_conversations"] for each in made)
    n_refused = sum(each.manifest["n_rejected"] for each in made)
    reasons = "; ".join(line for each in made for line in each.summary() if line.startswith("rejected"))
    check_rejected(n_refused, n, reasons, config)


def _where(records: Records, flags: Sequence[bool], wanted: bool) -> Iterator[Conversation]:
    """The conversations whose flag is the one wanted; files give them in the same order at every reading."""
    for one, flag in zip(records, flags, strict=True):
        if flag is wanted:
            assert isinstance(one, Conversation)
            yield one


def _prompt_hash(conversation: Record) -> str:
    """The hash of what comes before the last answer."""
    assert isinstance(conversation, Conversation)
    messages = conversation.messages
    last = max((n for n, message in enumerate(messages) if message["role"] == "assistant"), default=len(messages))
    return prompt_key(messages[:last])


def _noting_questions(
    conversations: Iterator[Conversation], found: list[tuple[str, Question]], most: int
) -> Iterator[Conversation]:
    """The same conversations; `most` of them, spread by their hash, are kept as questions."""
    for one in conversations:
        if question := question_of(one):
            found.append((_prompt_hash(one), question))
            if len(found) > 2 * most:
                found[:] = sorted(found, key=lambda pair: pair[0])[:most]
        yield one
    found[:] = sorted(found, key=lambda pair: pair[0])[:most]


def _more_validation(side: str, n: int) -> str:
    few = side == "validation" and n < 2
    return f" ({n} held out); give validation_data, or a larger validation_fraction" if few else ""
