"""`groundup eval answers`: a model answers the questions of a file, and is measured."""

from __future__ import annotations

import click

from groundup.cli._options import NAME, PATH, config_options, given
from groundup.generation.settings import SamplingSettings


@click.command(short_help="Let a model answer the questions of a file, and measure the answers.")
@click.argument("model", type=NAME)
@click.argument("questions")
@click.option("--out", required=True, type=PATH, help="Folder for answers.jsonl and answers.html.")
@click.option("--against", help="Another model, which answers the same questions.")
@click.option("--limit", type=click.IntRange(min=1), help="Ask this many questions at most.")
@click.option("--template", help="Chat template of a model without one: chatml, alpaca, llama3, phi or a .jinja file.")
@click.option("--judge", metavar="URL", help="OpenAI-compatible address of a judge, as http://localhost:8000/v1.")
@click.option("--judge-model", metavar="NAME", help="The model to ask there.")
@config_options(SamplingSettings, skip=("stop",), defaults={"temperature": 0.0})
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def command(model, questions, out, against, limit, template, judge, judge_model, device, **settings) -> None:
    """Let MODEL answer QUESTIONS: a file of conversations, whose last answers are the references (exact match, F1, ROUGE-L), or
    one in IFEval's form (prompt, instruction_id_list, kwargs), whose constraints are checked. The word `constraints` in place
    of a file means a dozen such prompts of our own. Answers are greedy unless --temperature is given.

    A judge compares MODEL with --against, or with the references, each pair in both orders; a key for it is read from the
    environment variable GROUNDUP_JUDGE_KEY.
    """
    from groundup.core.errors import GroundupError
    from groundup.core.files import write_atomically
    from groundup.core.progress import Terminal
    from groundup.evaluation.answers import evaluate_answers, read_answers, summary_lines
    from groundup.evaluation.judge import Judge
    from groundup.generation.text_model import load
    from groundup.inspect.answers import answers_html

    if (judge is None) != (judge_model is None):
        raise GroundupError("--judge and --judge-model go together: an address and the model to ask there")
    reporter = Terminal()
    other = load(against, device=device, template=template, reporter=reporter) if against else None
    found = evaluate_answers(
        load(model, device=device, template=template, reporter=reporter),
        questions,
        out,
        name=model,
        against=other,
        against_name=against or "",
        judge=Judge(judge, judge_model) if judge else None,
        limit=limit,
        reporter=reporter,
        **given(settings),
    )
    for line in summary_lines(found):
        reporter.say(line)
    write_atomically(out / "answers.html", answers_html(read_answers(out), found, f"Answers to {questions}"))
    reporter.say(f"report      {out / 'answers.html'}")
    reporter.say(f"next        groundup review {out} --out review.html")
