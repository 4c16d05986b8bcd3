"""`groundup tokenizer import`: somebody else's vocabulary, with the same ids."""

from __future__ import annotations

import click

from groundup.cli._options import PATH, shell


@click.command(short_help="Make a tokenizer folder from another program's vocabulary.")
@click.argument("file", type=PATH)
@click.option("--out", required=True, type=PATH, help="Folder for the tokenizer.")
@click.option("--merges", type=PATH, help="GPT-2's other file, where it lies elsewhere.")
@click.option("--pattern", help="How text is split into words, for tiktoken ranks that are not OpenAI's.")
@click.option("--special", multiple=True, help="A special token for such ranks; repeat it for more.")
@click.option("--lowercase/--cased", default=None, help="Whether a vocab.txt is uncased; otherwise its tokens tell.")
def command(file, out, merges, pattern, special, lowercase) -> None:
    """Read FILE and write tokenizer.json and tokenizer_config.json, which give the same ids here and in transformers.

    FILE is known by its content: tiktoken ranks (.tiktoken), a SentencePiece .model, a tokenizer.json, BERT's vocab.txt, GPT-2's
    encoder.json with vocab.bpe beside it (or vocab.json with merges.txt), or any of these as .gz.
    """
    from groundup.core.progress import Terminal
    from groundup.tokenization.imports import import_tokenizer

    reporter = Terminal()
    tokenizer = import_tokenizer(
        file, out=out, merges=merges, pattern=pattern, special=special, lowercase=lowercase, reporter=reporter
    )
    reporter.say(f"tokenizer   {out} ({tokenizer.algorithm}, {tokenizer.vocab_size:,} entries)")
    if tokenizer.eos_id is None:
        reporter.warn(
            "no token ends a text here, which `data prepare` needs; name one as eos_token in "
            f"{out / 'tokenizer_config.json'}"
        )
    reporter.say(f"next        groundup tokenizer show {shell(out)} 'Some text of yours'")
