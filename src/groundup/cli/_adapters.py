"""What the commands for adapters say alike."""

from __future__ import annotations

import click


def say_comparison(comparison, what: str) -> None:
    """How what was written compares with what was read."""
    click.echo(
        f"read back   max |logit difference| {comparison.max_difference:.1e} from {what} on {comparison.n_positions} tokens "
        f"of real prompts"
        + (
            ""
            if comparison.moved != comparison.moved
            else f" (the adapter itself moves them by up to {comparison.moved:.2g})"
        )
    )
    if comparison.n_changed:
        click.echo(f"            at {comparison.n_changed} of them another token is the likeliest")
