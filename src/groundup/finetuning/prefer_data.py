"""Preferences into a run folder: both answers rendered, what is judged marked, what cannot be learned from refused with its line.

The one idea: a pair is two conversations that differ in their answer, so it is kept as two examples (data/examples.py), the chosen
before the rejected one; a single judged answer is one. `judgements.npy` says of each example whether it was liked and on which
side of the split it is. Which side is a function of the prompt, so a prompt is never on both.

A model is not to learn its prompt: answers of the assistant in it have weight 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from groundup.chat.errors import CannotRender
from groundup.chat.renderer import Renderer
from groundup.core.errors import GroundupError
from groundup.core.files import write_json
from groundup.core.progress import Reporter
from groundup.core.runs import RunFolder, SourceSummary
from groundup.data.examples import Examples, rendered_examples, writing_examples
from groundup.data.reading_records import Records
from groundup.data.records import Conversation, Messages, Preference, place_of
from groundup.data.remarks import Remarks, reject_row
from groundup.finetuning.chat_rows import (
    ChatConfig,
    check_rejected,
    held_out,
    open_renderer,
    prompt_key,
    read,
    validation_share,
)
from groundup.finetuning.config import NotNegative, Positive
from groundup.training.preferences import PreferenceLoss

LONGEST_CONTEXT = 1024  # derived; more is asked for by name, since memory grows with it
TRAIN, VALIDATION = 0, 1


class PreferConfig(ChatConfig):
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
    renderer, length = open_renderer(config, LONGEST_CONTEXT, reporter)
    table: list[tuple[int, int, int]] = []
    sources, manifest = [], {"key": "", "context_length": length, "fill_id": _fill(renderer.tokenizer)}
    with writing_examples(data / "answers", manifest) as writer:
        n_conversations = 0
        for paths, validates in ((config.data, False), (config.validation_data, True)):
            if validates and not paths:
                continue
            records, remarks = read(config, paths, "preference"), Remarks()
            prompts = [prompt_key(one.prompt) for one in records if isinstance(one, Preference)]
            share = 1.0 if validates else validation_share(config, len(prompts))
            sides = held_out(prompts, share, config.seed)
            for record, is_held_out in _with_progress(records, sides, reporter):
                try:
                    found = _rendered(record, renderer, length, config.loss)
                except CannotRender as refused:
                    reject_row(remarks, place_of(record), refused.what, refused.detail, on_bad_row="skip")
                    continue
                side = VALIDATION if is_held_out else TRAIN
                first = len(table)
                for number, (liked, ids, trained) in enumerate(found):
                    writer.add(ids, trained)
                    partner = first + 1 - number if len(found) == 2 else -1
                    table.append((int(liked), side, partner))
                n_conversations += len(found)
            for line in records.summary():
                reporter.say(line)
            reasons = [f"{count:,} {what}" for what, count in sorted(remarks.items())]
            reasons += [f"{place}: {why}" for place, why in records.rejections[:3]]
            check_rejected(remarks.n_rejected + records.n_rejected, records.n_rows, "; ".join(reasons), config)
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


def _with_progress(records: Records, sides: list[bool], reporter: Reporter) -> Iterator[tuple[Preference, bool]]:
    with reporter.bar("rendering answers", len(sides)) as bar:
        for record, side in zip(records, sides, strict=True):
            assert isinstance(record, Preference)
            yield record, side
            bar.advance()


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
