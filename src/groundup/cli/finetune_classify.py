"""`groundup finetune classify`: a model that labels texts."""

from __future__ import annotations

from pathlib import Path

import click

from groundup.cli._options import config_from, config_options
from groundup.cli._reading import map_option
from groundup.finetuning.classify_config import Config


@click.command(short_help="Make a classifier of a model, from texts with labels.")
@click.argument("model")
@click.argument("data", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Run folder to make.")
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), help="YAML file of settings; flags win over it."
)
@config_options(Config, skip=("method", "model", "data", "map"))
@map_option
def command(model, data, out, config_file, **settings) -> None:
    """Make a classifier of MODEL (a run or model folder, a hub name, pypi:package, a GGUF) from DATA, texts with labels: csv, tsv,
    JSON lines or Parquet, with columns such as text and label (--map text=body --map label=kind for others).

    A fifth of the texts is kept to test with and a tenth for validation, each class in its share, unless files for them are
    given. The report shows the scores beside those of a classifier of words. With --lora an adapter and the head are trained
    and the model itself stays as it is.
    """
    from groundup.core.progress import Terminal
    from groundup.finetuning.run import finetune

    config = config_from(Config, config_file, settings | {"model": model})
    if finetune("classify", model, data, out=out, config=config, reporter=Terminal()).interrupted:
        raise SystemExit(130)
