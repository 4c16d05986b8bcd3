"""`groundup pretrain`: a model from text."""

from __future__ import annotations

import click

from groundup.cli._options import NAME, PATH, config_from, config_options
from groundup.cli._reading import map_option
from groundup.pretraining.config import PretrainConfig


@click.command(short_help="Train a model from scratch on text.")
@click.argument("data", nargs=-1, type=NAME)
@click.option("--out", required=True, type=PATH, help="Run folder to make.")
@click.option("--config", "config_file", type=PATH, help="YAML file of settings; flags win over it.")
@config_options(PretrainConfig, skip=("data", "map"))
@map_option
def command(data, out, config_file, **settings) -> None:
    """Train a language model on DATA: a prepared data folder, or text files and folders; or on a mixture of prepared data,
    --mix web=data/web:0.7 --mix law=data/law:0.3.

    Straight from text, the tokenizer is trained and the text prepared first. What is left out is derived from the text,
    the time and this machine, and shown before training starts.
    """
    from groundup.core.progress import Terminal
    from groundup.pretraining.pretrain import pretrain

    config = config_from(PretrainConfig, config_file, settings)
    run = pretrain(data or None, out=out, config=config, reporter=Terminal())
    if run.interrupted:
        raise SystemExit(130)
