"""Conversations into a run folder: read, split, rendered; what cannot be learned from is refused with its line.

The one idea: which side of the split a conversation falls on is decided by what comes before its last answer, so the same
question is never on both, whatever the order of the files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from groundup.chat.renderer import Renderer
from groundup.chat.templates import find_template
from groundup.checkpoints.adapter_base import find_base
from groundup.checkpoints.adapter_folder import read_adapter
from groundup.checkpoints.model_folder import is_adapter_folder, open_source, resolve_model
from groundup.checkpoints.tokenizer_folder import open_tokenizer
from groundup.core.config import Count
from groundup.core.errors import GroundupError
from groundup.core.files import write_json
from groundup.core.progress import Reporter
from groundup.core.runs import RunFolder
from groundup.data.examples import Examples, make_examples
from groundup.data.reading_records import Records, read_records
from groundup.data.records import Conversation, Record
from groundup.evaluation.answers import Question, answer_rows, question_of, write_rows
from groundup.finetuning.config import FinetuneConfig, Fraction
from groundup.tokenization.tokenizer import Tokenizer

LONGEST_CONTEXT = 2048  # derived; more is asked for by name, since memory grows with it
MOST_VALIDATION = 500  # conversations; the loss of so many is known to a few percent
N_QUESTIONS = 16
SPARE = 4  # times as many questions are noted, for some may leave no room for an answer
QUESTIONS, SPLIT = "questions.jsonl", "split.json"


class InstructConfig(FinetuneConfig):
    """Settings of `groundup finetune instruct`; None means: derived."""

    method: Literal["instruct"] = "instruct"  # pyright: ignore[reportIncompatibleVariableOverride]
    template: str | None = Field(
        default=None,
        description="chatml, alpaca, llama3, phi, own (the model's) or a .jinja file; the model's own, else chatml.",
        json_schema_extra={"metavar": "NAME|FILE"},
    )
    packing: Literal["best-fit", "none"] = Field(
        default="best-fit", description="Several examples a row, or each alone."
    )
    max_rejected: Fraction = Field(default=0.05, description="Share of the rows that may be refused; more is an error.")
    questions: Count | None = Field(
        default=None, description="Held-out prompts answered before and after; 16 if left out."
    )


def collect(config: InstructConfig, run: RunFolder, reporter: Reporter) -> None:
    """Render the conversations into `data/train` and `data/validation` of the run folder; at once when that is done."""
    data = run.path / "data"
    if (data / SPLIT).is_file():
        return
    tokenizer, model_context = tokenizer_and_context(config.model)
    renderer = Renderer(tokenizer, find_template(config.template, tokenizer))
    renderer.check()
    length = config.context_length or min(model_context or LONGEST_CONTEXT, LONGEST_CONTEXT)
    if model_context is not None and length > model_context:
        raise GroundupError(
            f"context_length {length} exceeds the {model_context} positions this model has; make it smaller"
        )
    reporter.say(f"template    {renderer.template.name}")
    records = _records(config.data, config)
    prompts = [_prompt_hash(one) for one in records]
    _check_read(records, config, reporter)
    share = 0.0
    if not config.validation_data:
        share = config.validation_fraction
        if share is None:
            share = min(0.1, MOST_VALIDATION / max(1, len(prompts)))
    is_held_out = _held_out(prompts, share, config.seed)
    sides: dict[str, tuple[Iterator[Conversation], int]] = {
        "train": (_where(records, is_held_out, False), is_held_out.count(False)),
        "validation": (_where(records, is_held_out, True), is_held_out.count(True)),
    }
    if config.validation_data:
        others = _records(config.validation_data, config)
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


def _records(paths: tuple[str, ...], config: InstructConfig) -> Records:
    if not paths:
        raise GroundupError("nothing to learn from; name files of conversations")
    return read_records(
        list(paths), "conversation", format=config.format, map=config.map, encoding=config.encoding, on_bad_row="skip"
    )


def _check_read(records: Records, config: InstructConfig, reporter: Reporter) -> None:
    """Refuse files of which more rows than a small share are no conversations; say what was read."""
    for line in records.summary():
        reporter.say(line)
    if records.n_rejected > config.max_rejected * records.n_rows:
        raise GroundupError(
            f"{records.n_rejected:,} of {records.n_rows:,} rows are no conversations, and at most {config.max_rejected:.0%} may "
            "be left out; repair them, or allow more with max_rejected"
        )


def _held_out(prompts: Sequence[str], share: float, seed: int) -> list[bool]:
    """Which conversations are for validation: the share of them whose seeded hash is smallest, equal prompts together."""
    keys = [hashlib.sha256(f"{seed} {prompt}".encode()).digest() for prompt in prompts]
    wanted = round(len(keys) * share)
    if not wanted:
        return [False] * len(keys)
    last = sorted(keys)[wanted - 1]
    return [key <= last for key in keys]


def _check_refused(made: Sequence[Examples], config: InstructConfig) -> None:
    """Refuse a run that would leave out more than a small share of the conversations."""
    n = sum(each.manifest["n_conversations"] for each in made)
    n_refused = sum(each.manifest["n_rejected"] for each in made)
    if n_refused > config.max_rejected * n:
        reasons = "; ".join(line for each in made for line in each.summary() if line.startswith("rejected"))
        raise GroundupError(
            f"{n_refused:,} of {n:,} conversations cannot be learned from, and at most {config.max_rejected:.0%} may be left out "
            f"({reasons}); repair them, or allow more with max_rejected (above {n_refused / n:.2f})"
        )


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
    prompt = json.dumps(messages[:last], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(prompt.encode()).hexdigest()


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


def tokenizer_and_context(name: str) -> tuple[Tokenizer, int | None]:
    """The tokenizer of the model to tune and the positions it reads (None: any number); its weights are not read."""
    place = resolve_model(name)
    if not is_adapter_folder(place):
        source = open_source(place)
        return source.tokenizer, source.config.max_length
    source = open_source(find_base(read_adapter(place)))
    return open_tokenizer(place) if (place / "tokenizer.json").is_file() else source.tokenizer, source.config.max_length
