"""From answers to preferences by hand: a page on which a person keeps or rejects what a model wrote.

The one idea: what is reviewed is rows of answers, those a run left behind or fresh ones to prompts of one's own; the page
(inspect/review_page.py) gives back what `finetune prefer` reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groundup.core.errors import GroundupError
from groundup.core.files import write_atomically
from groundup.core.progress import QUIET, Reporter
from groundup.evaluation.answers import answer_all, answer_rows, answerable, read_answers, read_questions
from groundup.generation.text_model import load
from groundup.inspect.review_page import review_html

N_ANSWERS = 2


def review(
    place: str | Path,
    out: str | Path,
    *,
    questions: str | Path | None = None,
    n_answers: int | None = None,
    limit: int | None = None,
    device: str = "auto",
    reporter: Reporter = QUIET,
    **settings: Any,
) -> Path:
    """Write a page to review answers by hand, and return where it is.

    `place` is a run, a folder or a file with an `answers.jsonl`; with `questions`, a model, which then draws `n_answers` (2) for
    each of them. `settings` are those of `SamplingSettings`. Raises `GroundupError` when there is nothing to review.
    """
    if questions is None:
        given = [name for name, value in {"n_answers": n_answers, **settings}.items() if value is not None]
        if given:
            raise GroundupError(
                f"{' and '.join(given)} would have no effect: without questions nothing is written anew"
            )
        rows = read_answers(place)[:limit]
    else:
        n = N_ANSWERS if n_answers is None else n_answers
        model = load(place, device=device, reporter=reporter)
        asked = read_questions(questions, limit=limit)
        kept = answerable(model, asked)
        if not kept:
            raise GroundupError(f"no question of {questions} leaves room in the context for an answer")
        if len(kept) < len(asked):
            reporter.warn(f"{len(asked) - len(kept):,} questions are too long for the context; left out")
        chosen = {"temperature": 0.8} | settings
        drawn = {
            f"answer {n_drawn + 1}": answer_all(model, kept, reporter=reporter, **(chosen | {"seed": n_drawn}))
            for n_drawn in range(n)
        }
        rows = answer_rows(kept, drawn)
    write_atomically(out, review_html(rows, f"Answers of {Path(place).name or place}"))
    return Path(out)
