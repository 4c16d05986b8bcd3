"""`groundup tokenizer train`: a tokenizer from text."""

from __future__ import annotations

from pathlib import Path

import click

from groundup.cli._reading import reading_options


@click.command(short_help="Train a tokenizer on text.")
@click.argument("text", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the tokenizer.")
@click.option("--vocab-size", default="8192", show_default=True, help="Entries, special tokens included.")
@click.option("--algorithm", default="bpe", show_default=True, help="bpe (byte-level) or char.")
@click.option("--byte-fallback/--no-byte-fallback", default=True, help="char: write unknown characters as bytes.")
@click.option("--pattern", default="qwen2", show_default=True, help="bpe: how text is split into words beforehand.")
@reading_options
@click.option("--validation-fraction", type=float, help="As given to `groundup data prepare`, if it is.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the split, as given to `data prepare`.")
def command(text, out, vocab_size, algorithm, byte_fallback, pattern, reading, validation_fraction, seed) -> None:
    """Train a tokenizer on TEXT: whatever `groundup data prepare` reads.

    The documents that `groundup data prepare` keeps for validation (with the same --validation-fraction and --seed) are left out.
    """
    from groundup.core.config import parse_count
    from groundup.core.errors import GroundupError
    from groundup.core.progress import Terminal
    from groundup.data.tokenizer_training import train_tokenizer

    try:
        vocab_size = parse_count(vocab_size)
    except ValueError as error:
        raise GroundupError(f"--vocab-size: {error}") from None
    reporter = Terminal()
    tokenizer = train_tokenizer(
        text,
        out=out,
        algorithm=algorithm,
        vocab_size=vocab_size,
        byte_fallback=byte_fallback,
        pattern=pattern,
        **reading,
        validation_fraction=validation_fraction,
        seed=seed,
        reporter=reporter,
    )
    reporter.say(f"tokenizer   {out} ({tokenizer.algorithm}, {tokenizer.vocab_size:,} entries)")
    inputs = " ".join(text)
    reporter.say(f"next        groundup tokenizer show {out} 'Some text of yours'")
    reporter.say(f"            groundup data prepare {inputs} --tokenizer {out} --out data/")
