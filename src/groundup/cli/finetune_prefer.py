"""`groundup finetune prefer`: a model learns which answers people prefer."""

from __future__ import annotations

import click

from groundup.cli._options import PATH, config_from, config_options
from groundup.cli._reading import map_option
from groundup.finetuning.prefer_data import PreferConfig


@click.command(short_help="Teach a model which answers people prefer.")
@click.argument("model")
@click.argument("data", nargs=-1, required=True)
@click.option("--out", required=True, type=PATH, help="Run folder to make.")
@click.option("--config", "config_file", type=PATH, help="YAML file of settings; flags win over it.")
@config_options(PreferConfig, skip=("method", "model", "data", "map"))
@map_option
def command(model, data, out, config_file, **settings) -> None:
    """Teach MODEL (most often a run of finetune instruct) which of two answers people prefer, or which answers they like: DATA
    holds rows of a prompt with a chosen and a rejected answer, or with one answer and a judgement (--loss kto).

    A run that trained an adapter goes on with it; --lora begins one on a whole model. The model as it was is the
    reference: what it makes of every answer is worked out once.
    """
    from groundup.core.progress import Terminal
    from groundup.finetuning.run import finetune

    config = config_from(PreferConfig, config_file, settings | {"model": model})
    if finetune("prefer", model, data, out=out, config=config, reporter=Terminal()).interrupted:
        raise SystemExit(130)
