"""What an instruction tuning shows of itself: the loss on held-out conversations, and answers to some of them, before and after."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from groundup.core.files import read_json, write_json
from groundup.core.progress import Reporter
from groundup.core.runs import RunFolder
from groundup.data.batches import EvaluationBatches
from groundup.data.examples import Examples, PackedExamples
from groundup.evaluation.answers import (
    ANSWERS,
    FIGURES,
    Question,
    answer_all,
    answer_rows,
    answerable,
    figures,
    read_answers,
    write_rows,
)
from groundup.evaluation.perplexity import evaluate
from groundup.finetuning.base_model import Base
from groundup.finetuning.instruct_data import N_QUESTIONS, QUESTIONS, SPLIT, InstructConfig
from groundup.finetuning.run import Look
from groundup.generation.text_model import ChatAnswer, TextModel

N_SAMPLES, ANSWER_TOKENS = 4, 160
N_MASKS, MASK_TOKENS = 3, 400
BEFORE = "before.jsonl"


@dataclass(frozen=True)
class Watcher:
    """Looks at the model on the held-out conversations, and lets it answer some of them."""

    config: InstructConfig
    base: Base
    run: RunFolder
    held_out: PackedExamples
    reporter: Reporter

    def look(self) -> Look:
        assert self.config.micro_batch_size
        batches = EvaluationBatches(self.held_out, self.config.micro_batch_size)
        scores = evaluate(self.base.model, batches, self.base.tokenizer.token_bytes())
        questions = self._questions()[:N_SAMPLES]
        answers = self._answers(questions) if questions else []
        row = {
            "val_loss": scores.loss,
            "val_loss_standard_error": scores.loss_standard_error,
            "val_perplexity": scores.perplexity,
            "val_tokens": scores.n_tokens,
        }
        ended = sum(answer.finish == "end" for answer in answers)
        line = f"validation loss {scores.loss:.4f}  perplexity {scores.perplexity:,.2f}"
        if answers:
            row["ended_share"] = ended / len(answers)
            line += f"  ended by itself {ended} of {len(answers)}"
        samples = tuple((_shown(one), answer.text) for one, answer in zip(questions, answers, strict=True))
        return Look(row, line, samples)

    def note_answers_before(self) -> None:
        """Keep what the model answers before training; at once when that is done. The weights are those of the base here."""
        path = self.run.path / "data" / BEFORE
        if not path.exists() and (questions := self._questions()):
            write_rows(path, answer_rows(questions, {"before": self._answers(questions)}))

    def finish(self, run: RunFolder) -> None:
        """Write `answers.jsonl` and the figures beside it, and `instruct.json` for the report."""
        data = run.path / "data"
        if questions := self._questions():
            before = [
                ChatAnswer(row["answers"]["before"]["text"], row["answers"]["before"]["finish"])
                for row in read_answers(data / BEFORE)
            ]
            answers = {"before": before, "after": self._answers(questions)}
            write_rows(run.path / ANSWERS, answer_rows(questions, answers))
            found = {who: asdict(figures(questions, theirs)) for who, theirs in answers.items()}
            write_json(run.path / FIGURES, {"figures": found})
            for who, one in found.items():
                self.reporter.say(
                    f"{who:<12}{one['n_answers']} held-out prompts: {one['ended_share']:.0%} ended by the model itself, "
                    f"ROUGE-L {one['overlap']['rouge_l']:.1%}"
                )
        else:
            self.reporter.say("answers     none: no held-out prompt leaves room in the context for an answer")
        train = Examples.open(data / "train")
        made = read_json(data / SPLIT)
        write_json(
            run.path / "instruct.json",
            {
                "template": made["template"],
                "summary": {side: Examples.open(data / side).summary() for side in ("train", "validation")},
                "unread": made["unread"],
                "masks": [self._mask(train, index) for index in range(min(N_MASKS, len(train)))],
            },
        )

    def _questions(self) -> list[Question]:
        rows = read_answers(self.run.path / "data" / QUESTIONS)
        writer = TextModel(self.base.model, self.base.tokenizer)
        found = [Question(tuple(row["messages"]), tuple(row["tools"]), row["reference"]) for row in rows]
        return answerable(writer, found)[: self.config.questions or N_QUESTIONS]

    def _answers(self, questions: list[Question]) -> list[ChatAnswer]:
        writer = TextModel(self.base.model, self.base.tokenizer)
        return answer_all(writer, questions, max_new_tokens=ANSWER_TOKENS)

    def _mask(self, examples: Examples, index: int) -> dict[str, Any]:
        ids, trained = examples.example(index)
        tokenizer = self.base.tokenizer
        shown = ids[:MASK_TOKENS].tolist()
        pieces = [tokenizer.decode([id], continued=True) for id in shown]
        return {"pieces": pieces, "trained": trained[:MASK_TOKENS].tolist(), "n_more": max(0, len(ids) - MASK_TOKENS)}


def _shown(question: Question) -> str:
    """A question as a line before its answer."""
    return "\n".join(f"{message['role']}: {message['content']}" for message in question.messages) + "\nassistant: "
