"""`groundup adapter show`: what an adapter is, and where it moved its base."""

from __future__ import annotations

import click


@click.command(short_help="See what an adapter is, and where it moved its base.")
@click.argument("adapter")
@click.option("--base", help="Where the base lies, if it is not where the adapter's files say.")
def command(adapter, base) -> None:
    """Base, rank, targets, numbers and size of ADAPTER (a run, or an adapter's folder of Groundup's or PEFT's).

    A table shows what was added to each matrix, layer by layer, in per cent of the matrix's own length.
    """
    from rich.console import Console

    from groundup.inspect.adapter import adapter_terminal, look_at_adapter

    Console(highlight=False).print(adapter_terminal(look_at_adapter(adapter, base=base)))
