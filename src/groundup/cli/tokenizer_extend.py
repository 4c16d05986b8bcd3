"""`groundup tokenizer extend`: more entries for a vocabulary in use."""

from __future__ import annotations

import click

from groundup.cli._options import NAME, PATH, shell


@click.command(short_help="Add entries for a domain to a tokenizer or a model.")
@click.argument("model", type=NAME)
@click.argument("text", nargs=-1, required=True, type=PATH)
@click.option("--add", default="2000", show_default=True, help="Entries to add.")
@click.option("--out", required=True, type=PATH, help="Folder for the extended model or tokenizer.")
@click.option("--old", "old_text", type=PATH, help="Text of the old kind, to measure on as well.")
@click.option("--text-field", help="Column or JSON key that holds the text.")
@click.option("--separator", help="Text that separates documents inside a text file.")
def command(model, text, add, out, old_text, text_field, separator) -> None:
    """Learn entries from TEXT on top of those of MODEL (a model or run folder, or a tokenizer of any kind `show` takes).

    Old ids stay, special ones too; old text is cut further only where new merges apply. A model gains a row for each entry, which
    begins as the mean of the rows of its old pieces. For byte pairs and characters.
    """
    from groundup.core.config import parse_count
    from groundup.core.errors import GroundupError
    from groundup.core.progress import Terminal
    from groundup.pretraining.extend import extend_vocabulary

    try:
        n_added = parse_count(add)
    except ValueError as error:
        raise GroundupError(f"--add: {error}") from None
    reporter = Terminal()
    done = extend_vocabulary(
        model,
        list(text),
        add=n_added,
        out=out,
        old_text=old_text,
        text_field=text_field,
        separator=separator,
        reporter=reporter,
    )
    if done.max_logit_change is None:
        reporter.say(f"tokenizer   {out} ({done.vocab_size:,} entries)")
        reporter.say(f"next        groundup data prepare {shell(*text)} --tokenizer {shell(out)} --out data/")
    else:
        reporter.say(f"model       {out} ({done.vocab_size:,} entries)")
        reporter.say(f"next        groundup verify {shell(out)}")
        reporter.say("            the new rows know nothing yet: train the model on text of the domain")
