"""`groundup adapter export`: an adapter as a folder to hand on."""

from __future__ import annotations

from pathlib import Path

import click

from groundup.cli._adapters import say_comparison


@click.command(short_help="Write an adapter as a PEFT folder to hand on.")
@click.argument("adapter")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the adapter.")
@click.option("--base-name", help="What others shall find the base under, as organisation/model.")
@click.option("--base", help="Where the base lies here, if it is not where the adapter's files say.")
def command(adapter, out, base_name, base) -> None:
    """Write ADAPTER (a run, or an adapter's folder) to a folder for others: PEFT, vLLM and the hub open it as it is.

    With --base-name the files name the base as others have it, not where it lies on this machine.
    """
    from groundup.checkpoints.adapter_moving import export_adapter
    from groundup.core.files import readable_bytes

    result = export_adapter(adapter, out, base=base, base_name=base_name)
    click.echo(f"adapter     {result.folder} ({result.n_parameters:,} numbers, {readable_bytes(result.n_bytes)})")
    click.echo(f"base        {result.base}")
    say_comparison(result.comparison, adapter)
    click.echo(f"next        PeftModel.from_pretrained(base, {str(result.folder)!r}), as its README.md shows")
