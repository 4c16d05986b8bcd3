"""`groundup finetune instruct`: a model learns to answer."""

from __future__ import annotations

import click

from groundup.cli._options import NAME, PATH, config_from, config_options
from groundup.cli._reading import map_option
from groundup.finetuning.instruct_data import InstructConfig


@click.command(short_help="Teach a model to answer, from conversations.")
@click.argument("model", type=NAME)
@click.argument("data", nargs=-1, required=True)
@click.option("--out", required=True, type=PATH, help="Run folder to make.")
@click.option("--config", "config_file", type=PATH, help="YAML file of settings; flags win over it.")
@config_options(InstructConfig, skip=("method", "model", "data", "map"))
@map_option
def command(model, data, out, config_file, **settings) -> None:
    """Teach MODEL (a run or model folder, a hub name, pypi:package, a GGUF) to answer, from the conversations in DATA: alpaca,
    ShareGPT, OpenAI messages, prompts with completions, as JSON, JSON lines, CSV or Parquet.

    Only the assistant's answers are learned, with the token that ends a turn. What is left out is derived and shown. With --lora an
    adapter is trained and the model itself stays as it is.
    """
    from groundup.core.progress import Terminal
    from groundup.finetuning.run import finetune

    config = config_from(InstructConfig, config_file, settings | {"model": model})
    if finetune("instruct", model, data, out=out, config=config, reporter=Terminal()).interrupted:
        raise SystemExit(130)
