"""`groundup doctor`: what this machine has, and what each missing optional part would gain."""

from __future__ import annotations

import click


@click.command(short_help="Look at this machine and the optional parts.")
def command() -> None:
    """Show the machine, its measured speed and the optional parts: what is here, what each gains, how to get it."""
    from groundup.core.device import doctor, machine_info

    versions = machine_info()
    click.echo("  ".join(f"{name} {versions[name]}" for name in ("groundup", "python", "torch", "numpy", "tokenizers")))
    click.echo(versions["system"])
    click.echo()
    for check in doctor():
        click.echo(f"{'yes' if check.ok else 'no ':<5}{check.name:<17}{check.found}")
        if check.gain:
            click.echo(f"{'':<22}{'gains' if check.ok else 'would gain'}: {check.gain}")
        if not check.ok and check.get:
            click.echo(f"{'':<22}get it: {check.get}")
