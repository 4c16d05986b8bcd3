"""`groundup plan`: what would be trained, how long it would take and how good it would be."""

from __future__ import annotations

import click

from groundup.cli._options import NAME, PATH, config_from, config_options
from groundup.cli._reading import map_option
from groundup.pretraining.config import PretrainConfig

WATCHING = ("sample_prompt", "sample_tokens", "save_every")


@click.command(short_help="See what would be trained, for the text, the time and this machine.")
@click.argument("data", nargs=-1, type=NAME)
@click.option("--config", "config_file", type=PATH, help="YAML file of settings; flags win over it.")
@config_options(PretrainConfig, skip=("data", "map", *WATCHING))
@map_option
def command(data, config_file, **settings) -> None:
    """Plan a training on DATA (a prepared folder, or text, or a mixture with --mix) without training: it times this machine
    for some seconds.

    Takes the flags of `groundup pretrain`; what is given is kept, the rest is chosen.
    """
    from groundup.core.progress import Terminal
    from groundup.pretraining.preview import plan

    plan(data or None, config=config_from(PretrainConfig, config_file, settings), reporter=Terminal())
