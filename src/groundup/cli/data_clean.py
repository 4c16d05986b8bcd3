"""`groundup data clean`: a text without what the chosen rules remove, and an answer for every document."""

from __future__ import annotations

import click

from groundup.cli._cleaning import cleaning_options, settings_from
from groundup.cli._options import NAME, PATH, shell


@click.command(short_help="Clean a text by rules with names; every document is accounted for.")
@click.argument("text", nargs=-1, required=True, type=NAME)
@click.option("--out", required=True, type=PATH, help="Folder for the cleaned text.")
@cleaning_options("default")
def command(text, out, **given) -> None:
    """Clean TEXT (files and folders) into the folder --out: the kept documents, `removed.jsonl` with every removed one and
    the rule that removed it, `report.html` and `report.json`.

    Left out, --rules is `default`: Unicode repair, hidden Unicode, personal data masked, empty documents, exact
    duplicates. More, by name: gopher (gopher_quality, gopher_repetition), c4, fineweb, symbols, language, perplexity,
    gibberish, boilerplate, near, substrings. Look first with `groundup data inspect`. Interrupted or killed, the same
    command goes on after the documents it has judged.
    """
    from groundup.core.progress import Terminal
    from groundup.data.cleaning.clean import clean, summary
    from groundup.data.remarks import counted, documents
    from groundup.inspect.cleaning import cleaning_html

    reporter = Terminal()
    workers = given.pop("workers")
    config = settings_from(given)
    numbers = clean(text, out, config=config, n_workers=workers, page=cleaning_html, reporter=reporter)
    for what, count in numbers["remarks"].items():
        reporter.warn(counted(count, what))
    for rule in numbers["rules"]:
        if rule["documents"]:
            reporter.say(f"breaking    {rule['name']}: {documents(rule['documents'])}")
    for edit in numbers["edits"]:
        reporter.say(f"changed     {documents(edit['documents'])}: {edit['says']}")
    reporter.say(f"result      {summary(numbers)}")
    if 2 * numbers["flagged"]["documents"] > numbers["n_documents"]:
        reporter.warn("more than half of the documents were removed; look at the report before training on the rest")
    reporter.say(f"text        {out}")
    reporter.say(f"removed     {out / 'removed.jsonl'}")
    reporter.say(f"report      {out / 'report.html'}")
    reporter.say(f"next        groundup tokenizer train {shell(out)} --vocab-size 8192 --out tok/")
    reporter.say(f"            groundup data prepare {shell(out)} --tokenizer tok/ --out data/")
