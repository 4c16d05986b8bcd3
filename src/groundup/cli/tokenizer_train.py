"""`groundup tokenizer train`: a tokenizer from text."""

from __future__ import annotations

import click

from groundup.cli._options import NAME, PATH, shell
from groundup.cli._reading import reading_options


@click.command(short_help="Train a tokenizer on text.")
@click.argument("text", nargs=-1, required=True, type=NAME)
@click.option("--out", required=True, type=PATH, help="Folder for the tokenizer.")
@click.option("--vocab-size", default="8192", show_default=True, help="Entries, special tokens included.")
@click.option(
    "--algorithm",
    default="bpe",
    show_default=True,
    help="bpe (byte-level), wordpiece (BERT's), unigram (SentencePiece's), char or word.",
)
@click.option(
    "--pattern",
    help="bpe, unigram: how text is split into words beforehand: gpt2, gpt4, llama3, o200k, qwen2 or (bpe) none.  "
    "[default: qwen2]",
)
@click.option(
    "--byte-fallback/--no-byte-fallback", default=None, help="char: write unknown characters as bytes, or not."
)
@click.option(
    "--lowercase/--keep-case",
    default=None,
    help="wordpiece (default: lower), word (default: keep): fold capital letters.",
)
@click.option(
    "--min-frequency",
    type=int,
    help="How often a pair (bpe, wordpiece: 2), word or character (word, char: 1) must occur to be learned.",
)
@click.option("--special", multiple=True, metavar="NAME", help="One more special token, as [MASK]; may be repeated.")
@reading_options
@click.option("--validation-fraction", type=float, help="As given to `groundup data prepare`, if it is.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the split, as given to `data prepare`.",
)
@click.option("--max-bytes", help="Read an even sample of this much text: 50M.  [default: 300M; unigram 20M]")
def command(text, out, vocab_size, max_bytes, reading, **settings) -> None:
    """Train a tokenizer on TEXT (whatever `groundup data prepare` reads).

    The documents that `groundup data prepare` keeps for validation (with the same --validation-fraction and --seed) are left out.
    """
    from groundup.core.progress import Terminal
    from groundup.data.tokenizer_training import train_tokenizer

    reporter = Terminal()
    tokenizer = train_tokenizer(
        text,
        out=out,
        vocab_size=_count("--vocab-size", vocab_size),
        max_bytes=None if max_bytes is None else _count("--max-bytes", max_bytes),
        reporter=reporter,
        **reading,
        **settings,
    )
    reporter.say(f"tokenizer   {out} ({tokenizer.algorithm}, {tokenizer.vocab_size:,} entries)")
    reporter.say(f"next        groundup tokenizer show {shell(out)} 'Some text of yours'")
    reporter.say(f"            groundup data prepare {shell(*text)} --tokenizer {shell(out)} --out data/")


def _count(flag: str, value: str) -> int:
    from groundup.core.config import parse_count
    from groundup.core.errors import GroundupError

    try:
        return parse_count(value)
    except ValueError as error:
        raise GroundupError(f"{flag}: {error}") from None
