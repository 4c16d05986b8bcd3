"""`groundup inspect mechanisms`: attention on six words, step by step."""

from __future__ import annotations

import click

from groundup.cli._views import html_option, show


@click.command(short_help="See attention on a few words, step by step and mechanism by mechanism.")
@click.argument("words", nargs=-1)
@click.option(
    "--only", metavar="NAME", help="One mechanism: simple, trainable, causal, dropout, heads-apart, alibi ..."
)
@click.option("--d-in", type=int, help="Numbers of each word's vector, for words of your own.  [default: 3]")
@click.option("--d-head", type=int, default=2, show_default=True, help="Numbers of a head's queries, keys and values.")
@click.option("--n-heads", type=int, default=2, show_default=True, help="Heads, where there are several.")
@click.option("--window", type=int, default=3, show_default=True, help="Words in sight, for the sliding window.")
@click.option("--dropout", type=float, default=0.5, show_default=True, help="Probability of dropping a weight.")
@click.option("--seed", type=click.IntRange(0), default=123, show_default=True, help="Seed of your words' vectors.")
@html_option
def command(words, only, html, **sizes) -> None:
    """Scores, weights and context vectors of every attention mechanism on WORDS, or on the six words of the textbook
    ("Build a Large Language Model (From Scratch)", chapter 3), whose printed numbers come out.
    """
    from groundup.inspect.mechanisms import example_of, mechanisms_html, mechanisms_terminal

    example = example_of(" ".join(words).split(), **sizes)
    show(mechanisms_terminal(example, only), html, lambda: mechanisms_html(example, only))
