"""The quickstart: a first model, and then a first assistant, in minutes, offline, on what every Python carries.

The one idea: it is two ordinary runs, one after the other: pretraining on the interpreter's documentation (`runs/quickstart`), and
instruction tuning on questions and answers made of the same (`runs/quickstart/chat`). They are joined here, above the rooms, as
neither of these rooms knows the other. Each stage goes on where it was stopped.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from groundup.core.files import write_json
from groundup.core.progress import QUIET, Reporter
from groundup.core.runs import RunFolder
from groundup.evaluation.answers import answer_all, read_questions
from groundup.finetuning.run import FinetuneResult, finetune
from groundup.finetuning.run import resume as resume_tuning
from groundup.generation.text_model import ChatAnswer, TextModel, load
from groundup.pretraining.pretrain import PretrainResult
from groundup.pretraining.quickstart import SECONDS
from groundup.pretraining.quickstart import quickstart as first_model
from groundup.pretraining.quickstart_questions import (
    ALWAYS_LEARNED,
    HELD_OUT,
    LONGEST_ANSWER,
    TRAIN,
    write_quickstart_questions,
)

CHAT = "chat"
TUNING_SHARE = 0.5  # of the time of pretraining
ANSWER_TOKENS = 100
SHOWN = ("Hello!", f"What does {ALWAYS_LEARNED} do?", "What can you do?")


@dataclass(frozen=True)
class QuickstartResult:
    """Both runs; `tuned` is None when the first was interrupted. Shares are of the held-out questions."""

    pretrained: PretrainResult
    tuned: FinetuneResult | None
    share_in_form: float | None = None  # answered in one sentence, and stopped by the model itself
    share_ended: float | None = None

    @property
    def interrupted(self) -> bool:
        return self.tuned is None or self.tuned.interrupted


def quickstart(
    out: str | Path = "runs/quickstart", *, time: float | str | None = None, reporter: Reporter = QUIET
) -> QuickstartResult:
    """Train on the documentation of the running Python for `time` (200 seconds), then half as long on questions and answers.

    Interrupted, the same call goes on. Raises `GroundupError` when `out` holds another run.
    """
    out = Path(out)
    pretrained = first_model(out, time=time, reporter=reporter)
    if pretrained.interrupted:
        return QuickstartResult(pretrained, None)
    tuned = _tuned(out, reporter)
    if tuned.interrupted:
        return QuickstartResult(pretrained, tuned)
    in_form, ended = _show(out, reporter)
    return QuickstartResult(pretrained, tuned, in_form, ended)


def _tuned(out: Path, reporter: Reporter) -> FinetuneResult:
    chat, questions = out / CHAT, out / "questions"
    if RunFolder(chat).config.is_file():
        return resume_tuning(chat, reporter=reporter)
    reporter.say()
    reporter.say(f"questions   {write_quickstart_questions(questions)}")
    spent = RunFolder.open(out).read_summary().cost
    seconds = spent.training_seconds if spent and spent.training_seconds else SECONDS
    return finetune(
        "instruct",
        out,
        questions / TRAIN,
        validation_data=(str(questions / HELD_OUT),),
        out=chat,
        time=max(1.0, round(TUNING_SHARE * seconds)),
        template="chatml",
        reporter=reporter,
    )


def _show(out: Path, reporter: Reporter) -> tuple[float, float]:
    """Measure the form of the answers to held-out questions, before and after, and show a short chat."""
    questions = read_questions(out / "questions" / HELD_OUT)
    after = load(out / CHAT, reporter=reporter)
    before = TextModel(load(out, reporter=reporter).model, after.tokenizer)
    shares = {}
    for name, model in (("before", before), ("after", after)):
        answers = answer_all(model, questions, reporter=reporter, max_new_tokens=ANSWER_TOKENS)
        shares[name] = (sum(map(in_form, answers)) / len(answers), _ended(answers))
    reporter.say()
    for name, (form, ended) in shares.items():
        reporter.say(
            f"{name} tuning: of {len(questions)} held-out questions {form:.0%} answered in one sentence and stopped by itself, "
            f"{ended:.0%} stopped by itself"
        )
    held_out = str(questions[0].messages[-1]["content"])
    reporter.say()
    for question in (*SHOWN, held_out):
        note = "   (about a name that was held out)" if question == held_out else ""
        answer = after.chat([{"role": "user", "content": question}], temperature=0.0, max_new_tokens=ANSWER_TOKENS)
        reporter.say(f"you: {question}{note}")
        reporter.say(f"     {answer}")
    reporter.say()
    reporter.say("The form is learned, the knowledge hardly: it is a model of minutes. Go on talking with:")
    reporter.say(f"            groundup chat {shlex.quote(str(out / CHAT))}")
    form, ended = shares["after"]
    write_json(out / CHAT / "held-out.json", {name: {"in_form": a, "ended": b} for name, (a, b) in shares.items()})
    return form, ended


def in_form(answer: ChatAnswer) -> bool:
    """Whether an answer has the form it was taught: one sentence on one line, and the model ended it itself."""
    text = answer.text.strip()
    return (
        answer.finish == "end"
        and "\n" not in text
        and 0 < len(text) <= 2 * LONGEST_ANSWER
        and text[0].isupper()
        and text[-1] in ".!?"
    )


def _ended(answers: list[ChatAnswer]) -> float:
    return sum(answer.finish == "end" for answer in answers) / len(answers)
