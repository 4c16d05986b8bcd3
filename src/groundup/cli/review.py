"""`groundup review`: a page on which a person keeps or rejects a model's answers."""

from __future__ import annotations

import click

from groundup.cli._options import NAME, PATH, config_options, given
from groundup.generation.settings import SamplingSettings


@click.command(short_help="Make a page to review answers by hand; it gives a file of preferences.")
@click.argument("place", type=NAME)
@click.option("--out", required=True, type=PATH, help="The page to write, as review.html.")
@click.option("--questions", help="File of conversations: PLACE is a model, and answers them anew.")
@click.option("--answers", type=click.IntRange(min=1), help="Answers to draw for each question; 2 if left out.")
@click.option("--limit", type=click.IntRange(min=1), help="This many prompts at most.")
@config_options(SamplingSettings, skip=("stop", "seed"))
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def command(place, out, questions, answers, limit, device, **settings) -> None:
    """Make a page of the answers that PLACE (a run of finetune instruct, a folder of eval answers) holds, or of fresh ones by a
    model to --questions. Open it in a browser, keep and reject; it downloads what `groundup finetune prefer` reads.
    """
    from groundup.core.progress import Terminal
    from groundup.finetuning.review import review

    reporter = Terminal()
    page = review(
        place,
        out,
        questions=questions,
        n_answers=answers,
        limit=limit,
        device=device,
        reporter=reporter,
        **given(settings),
    )
    reporter.say(f"page        {page}")
    reporter.say(
        "next        open it in a browser; then groundup finetune prefer MODEL preferences.jsonl --out runs/better "
        "(with --loss kto for answers judged one by one)"
    )
