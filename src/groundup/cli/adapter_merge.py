"""`groundup adapter merge`: base and adapter as one whole model."""

from __future__ import annotations

from pathlib import Path

import click

from groundup.cli._adapters import say_comparison


@click.command(short_help="Write base and adapter as one whole model.")
@click.argument("adapter")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the whole model.")
@click.option("--base", help="Where the base lies, if it is not where the adapter's files say.")
@click.option(
    "--dtype", type=click.Choice(["fp32", "bf16", "fp16"]), help="How weights are stored; otherwise as the base's."
)
def command(adapter, out, base, dtype) -> None:
    """Merge ADAPTER (a run, or an adapter's folder) into its base, and write a model folder that opens anywhere.

    The sum is made in fp32 on the base as it was published, not on a quantised copy. The folder is read back and compared with
    base and adapter on real prompts; what storing in 16 bits rounds away is in the difference.
    """
    from groundup.checkpoints.adapter_moving import merge_to_folder

    result = merge_to_folder(adapter, out, base=base, dtype=dtype)
    click.echo(
        f"model       {result.folder} ({result.n_parameters:,} parameters, merged in fp32, stored in {result.dtype})"
    )
    say_comparison(result.comparison, "base and adapter")
    click.echo(f"next        groundup generate {result.folder} 'Once upon a time'")
