"""`groundup data inspect`: what is in a text, and what each rule of cleaning would do to it."""

from __future__ import annotations

import click

from groundup.cli._cleaning import cleaning_options, settings_from
from groundup.cli._options import NAME, PATH, shell


@click.command(short_help="Report what is in a text, changing nothing.")
@click.argument("text", nargs=-1, required=True, type=NAME)
@click.option("--out", type=PATH, help="Also write a page to this file.")
@cleaning_options("all but block and substrings", skip=("out_format", "shard_size", "hidden"))
def command(text, out, **given) -> None:
    """Look at TEXT (files and folders) with every rule of `groundup data clean`, and report: how many documents each would
    remove, with examples; what would be masked; hidden Unicode, languages, lengths, duplicates.

    Nothing is changed. --rules chooses the groups to look with; left out, all but passages that repeat (substrings).
    """
    from rich.console import Console

    from groundup.core.files import write_atomically
    from groundup.core.progress import Terminal
    from groundup.data.cleaning.clean import INSPECTED, inspect_corpus, summary
    from groundup.data.cleaning.rules import DEFAULT, GROUPS
    from groundup.data.remarks import counted
    from groundup.inspect.cleaning import cleaning_html, cleaning_terminal

    reporter = Terminal()
    workers = given.pop("workers")
    config = settings_from(given, default_rules=INSPECTED)
    numbers = inspect_corpus(text, config=config, n_workers=workers, reporter=reporter)
    Console(highlight=False).print(cleaning_terminal(numbers))
    for what, count in numbers["remarks"].items():
        reporter.warn(counted(count, what))
    reporter.say(summary(numbers))
    if out is not None:
        write_atomically(out, cleaning_html(numbers))
        reporter.say(f"page        {out}")
    shown = shell(*text)
    reporter.say(f"next        groundup data clean {shown} --out clean/")
    named = (
        {rule["group"] for rule in numbers["rules"] if rule["documents"]} - set(DEFAULT) - {"contamination", "block"}
    )
    if named:
        rules = ",".join(["default", *(group for group in GROUPS if group in named)])
        reporter.say(f"            add --rules {rules} to use all the rules above")
