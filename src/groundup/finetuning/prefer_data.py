"""Preferences into a run folder: both answers rendered, what is judged marked, what cannot be learned from refused with its line.

The one idea: a pair is two conversations that differ in their answer, so it is kept as two examples (data/examples.py), the chosen
before the rejected one; a single judged answer is one. `judgements.npy` says of each example whether it was liked and on which
side of the split it is. Which side is a function of the prompt, so a prompt is never on both.

A model is not to learn its prompt: answers of the assistant in it have weight 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from groundup.chat.errors import CannotRender
from groundup.chat.renderer import Renderer
from groundup.chat.templates import find_template
from groundup.core.errors import GroundupError
from groundup.core.files import write_json
from groundup.core.progress import Reporter
from groundup.core.runs import RunFolder, SourceSummary
from groundup.data.examples import Examples, rendered_examples, writing_examples
from groundup.data.reading_records import Records, read_records
from groundup.data.records import Conversation, Messages, Preference, place_of
from groundup.data.remarks import Remarks, reject_row
from groundup.finetuning.base_model import tokenizer_and_context
from groundup.finetuning.config import FinetuneConfig, Fraction, NotNegative, Positive
from groundup.training.preferences import PreferenceLoss

LONGEST_CONTEXT = 1024  # derived; more is asked for by name, since memory grows with it
MOST_VALIDATION = 500  # pairs: an accuracy of so many is known to 2 percent
TRAIN, VALIDATION = 0, 1


class PreferConfig(FinetuneConfig):
    """Settings of `groundup finetune prefer`; None means: derived."""

    method: Literal["prefer"] = "prefer"  # pyright: ignore[reportIncompatibleVariableOverride]
    loss: PreferenceLoss = Field(
        default="dpo",
        description="dpo, ipo: pairs against the model as it was; orpo, simpo: pairs alone; kto: answers judged one by one.",
    )
    beta: Positive | None = Field(
        default=None,
        description="How firmly answers are held to the model as it was (dpo, ipo, kto: 0.1), the weight of the odds (orpo: 0.1), "
        "the scale of rewards (simpo: 2).",
    )
    gamma: NotNegative | None = Field(default=None, description="Margin between rewards, simpo only; 1 if left out.")
    liked_weight: Positive | None = Field(default=None, description="Weight of liked answers, kto only; 1 if left out.")
    disliked_weight: Positive | None = Field(
        default=None, description="Weight of disliked answers, kto only; as evens out their number if left out."
    )
    template: str | None = Field(
        default=None,
        description="chatml, alpaca, llama3, phi, own (the model's) or a .jinja file; the model's own, else chatml.",
        json_schema_extra={"metavar": "NAME|FILE"},
    )
    max_rejected: Fraction = Field(default=0.05, description="Share of the rows that may be refused; more is an error.")


@dataclass(frozen=True)
class Judged:
    """The answers of a run folder, as examples with what is known of each."""

    examples: Examples
    liked_N: np.ndarray  # bool
    side_N: np.ndarray  # TRAIN or VALIDATION
    partner_N: np.ndarray  # int64: the other answer of a pair, -1 where there is none

    @classmethod
    def open(cls, data: Path) -> Judged:
        """What `collect` wrote."""
        table = np.load(data / "judgements.npy", allow_pickle=False)
        return cls(Examples.open(data / "answers"), table[:, 0].astype(bool), table[:, 1], table[:, 2])

    def units(self, side: int, *, pairs: bool) -> np.ndarray:
        """Numbers of the chosen answers of a side's pairs, or of all its judged answers."""
        chosen = self.side_N == side
        return np.flatnonzero(chosen & (self.partner_N >= 0) & self.liked_N if pairs else chosen)

    def answer_start(self, index: int) -> int:
        """Where the judged answer of an example begins, in tokens."""
        return int(np.argmax(self.examples.example(index)[1]))

    @cached_property
    def key(self) -> str:
        """SHA-256 of all of it."""
        parts = (self.examples.tokens, self.examples.trained, self.examples.offsets, self.liked_N, self.side_N)
        return hashlib.sha256(b"".join(hashlib.sha256(part.tobytes()).digest() for part in parts)).hexdigest()


def collect(config: PreferConfig, run: RunFolder, reporter: Reporter) -> None:
    """Render the answers into `data/` of the run folder; at once when that is done."""
    data = run.path / "data"
    if (data / "sources.json").is_file():
        return
    tokenizer, model_context = tokenizer_and_context(config.model)
    renderer = Renderer(tokenizer, find_template(config.template, tokenizer))
    renderer.check()
    length = config.context_length or min(model_context or LONGEST_CONTEXT, LONGEST_CONTEXT)
    if model_context is not None and length > model_context:
        raise GroundupError(f"context_length {length} exceeds the {model_context} positions this model has; lower it")
    reporter.say(f"template    {renderer.template.name}")
    table: list[tuple[int, int, int]] = []
    sources, manifest = [], {"key": "", "context_length": length, "fill_id": _fill(tokenizer)}
    with writing_examples(data / "answers", manifest) as writer:
        n_conversations = 0
        for paths in filter(None, (config.data, config.validation_data)):
            records, remarks = _records(paths, config), Remarks()
            n_rows = sum(1 for _ in records)
            fraction = _fraction(config, n_rows, paths == config.validation_data)
            for record in _with_progress(records, n_rows, reporter):
                try:
                    found = _rendered(record, renderer, length, config.loss)
                except CannotRender as refused:
                    reject_row(remarks, place_of(record), refused.what, refused.detail, on_bad_row="skip")
                    continue
                side = VALIDATION if _is_held_out(record.prompt, fraction) else TRAIN
                first = len(table)
                for number, (liked, ids, trained) in enumerate(found):
                    writer.add(ids, trained)
                    partner = first + 1 - number if len(found) == 2 else -1
                    table.append((int(liked), side, partner))
                n_conversations += len(found)
            for line in records.summary():
                reporter.say(line)
            _check_share(remarks, records, config)
            sources += [asdict(SourceSummary(str(file.source))) for file in records.files]
        manifest |= {"n_conversations": n_conversations, "n_cut": 0, "n_rejected": 0, "rejected": {}}
    judgements = np.array(table, np.int64).reshape(-1, 3)
    _check_enough(judgements, config)
    np.save(data / "judgements.npy", judgements, allow_pickle=False)
    write_json(data / "sources.json", {"sources": sources})  # last: its presence means done


def _rendered(
    record: Preference, renderer: Renderer, length: int, loss: str
) -> list[tuple[bool, list[int], list[bool]]]:
    """(liked, ids, mask) of the answers of a row: both of a pair, or the one that was judged. Raises `CannotRender`."""
    sides = [(True, record.chosen), (False, record.rejected)]
    answers = [(liked, answer) for liked, answer in sides if answer is not None]
    if len(answers) == 1 and loss != "kto":
        raise CannotRender("there is one judged answer, from which only --loss kto learns")
    prompt: Messages = tuple({**message, "weight": 0} for message in record.prompt)
    found = []
    for liked, answer in answers:
        whole = Conversation((*prompt, *answer), record.tools, record.source, record.index)
        examples = rendered_examples(whole, renderer, length)
        if len(examples) != 1 or examples[0][2]:
            raise CannotRender("an answer does not fit the context or is several texts by this template")
        found.append((liked, *examples[0][:2]))
    if len(found) == 2 and found[0][1] == found[1][1]:
        raise CannotRender("the answers are the same text")
    return found


def _fill(tokenizer: Any) -> int:
    return next((id for id in (tokenizer.pad_id, tokenizer.eos_id) if id is not None), 0)


def _records(paths: tuple[str, ...], config: PreferConfig) -> Records:
    return read_records(
        list(paths), "preference", format=config.format, map=config.map, encoding=config.encoding, on_bad_row="skip"
    )


def _with_progress(records: Records, n_rows: int, reporter: Reporter) -> Iterator[Preference]:
    with reporter.bar("rendering answers", n_rows) as bar:
        for record in records:
            assert isinstance(record, Preference)
            yield record
            bar.advance()


def _fraction(config: PreferConfig, n_rows: int, for_validation: bool) -> float:
    """The share of some rows that validates."""
    if config.validation_data:
        return float(for_validation)
    if config.validation_fraction is not None:
        return config.validation_fraction
    return min(0.1, MOST_VALIDATION / max(1, n_rows))


def _is_held_out(prompt: Messages, fraction: float) -> bool:
    """Whether a prompt is for validation: by its hash, so that copies fall on one side."""
    text = json.dumps(prompt, sort_keys=True, ensure_ascii=True, default=str)
    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) < fraction * 2**64


def _check_share(remarks: Remarks, records: Records, config: PreferConfig) -> None:
    """More refused rows than a small share are an error, never a smaller training."""
    n_rejected = remarks.n_rejected + records.n_rejected
    if n_rejected <= config.max_rejected * max(1, records.n_rows):
        return
    reasons = "; ".join(f"{count:,} {what}" for what, count in sorted(remarks.items())) or "; ".join(
        f"{place}: {why}" for place, why in records.rejections[:3]
    )
    raise GroundupError(
        f"{n_rejected:,} of {records.n_rows:,} rows cannot be learned from, and at most {config.max_rejected:.0%} may be left "
        f"out: {reasons}. Repair them, or allow more with --max-rejected"
    )


def _check_enough(judgements: np.ndarray, config: PreferConfig) -> None:
    liked, side = judgements[:, 0], judgements[:, 1]
    for number, name in ((TRAIN, "training"), (VALIDATION, "validation")):
        here = liked[side == number]
        if not len(here):
            raise GroundupError(
                f"no row is left for {name}: give more rows, or other --validation-data or --validation-fraction"
            )
        if number == TRAIN and config.loss == "kto" and (here.all() or not here.any()):
            raise GroundupError(
                f"all answers are {'liked' if here[0] else 'disliked'}; kto learns from the difference, so give both kinds"
            )
