"""`groundup data example`: real text, and rows to fine-tune on, to begin with on a machine with no network."""

from __future__ import annotations

import click

from groundup.cli._options import PATH, shell

NEXT = {
    "text": "groundup tokenizer train {} --vocab-size 2048 --out tok/",
    "labelled": "groundup finetune classify MODEL {} --out runs/classifier",
    "conversation": "groundup finetune instruct MODEL {}/train.jsonl --out runs/chat",
    "preference": "groundup finetune prefer MODEL {} --out runs/better",
}


@click.command(short_help="Write the text every Python carries, or rows to fine-tune on, into a folder.")
@click.argument("folder", type=PATH)
@click.option(
    "--kind",
    type=click.Choice(list(NEXT)),
    default="text",
    show_default=True,
    help="labelled: sentences with the package they are about; conversation: questions and answers; "
    "preference: answers with spoiled copies.",
)
def command(folder, kind) -> None:
    """Write the documentation of the Python that runs this into FOLDER: as text, one file a document, or as rows made of its
    sentences, for each kind of fine-tuning. Real text, offline.
    """
    from groundup.core.progress import Terminal
    from groundup.pretraining.example_rows import write_example_rows
    from groundup.pretraining.quickstart_text import write_quickstart_text

    reporter = Terminal()
    found = write_quickstart_text(folder) if kind == "text" else write_example_rows(folder, kind)
    reporter.say(f"{'text' if kind == 'text' else 'rows':<11} {folder}: {found}")
    reporter.say(f"next        {NEXT[kind].format(shell(folder))}")
