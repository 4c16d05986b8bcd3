"""`groundup compare-architectures`: several kinds of model on the same text."""

from __future__ import annotations

import click

from groundup.cli._options import NAME, PATH, config_options, given
from groundup.cli._reading import map_option
from groundup.pretraining.config import OF_ONE_MODEL, PretrainConfig


@click.command(short_help="Train several architectures on the same text and compare them.")
@click.argument("data", nargs=-1, required=True, type=NAME)
@click.option("--models", required=True, help="Architectures, with commas: gpt2,qwen3,lstm,mamba.")
@click.option("--out", required=True, type=PATH, help="Folder for the runs and the page.")
@click.option("--parameters", help="Parameters each shall have, as near as it can; else the first model's, of --size.")
@config_options(PretrainConfig, skip=("data", "map", *OF_ONE_MODEL))
@map_option
def command(data, models, out, parameters, **settings) -> None:
    """Train each of the MODELS on DATA (a prepared data folder, or text) with the same budget, --time 5m, and compare them:
    loss against time and tokens, speed, memory, what they write.

    All share the text, the tokenizer, the context and, as near as each can be built, the number of parameters: that of the
    first model, which --size or the planner chooses, or --parameters. Each is a run in OUT like any other. Interrupted, run
    it again: it goes on; what is finished is not trained again, and --models may name more.
    """
    from groundup.core.config import parse_count
    from groundup.core.errors import GroundupError
    from groundup.core.progress import Terminal
    from groundup.inspect.architecture_comparison import comparison_terminal, next_commands
    from groundup.pretraining.comparison import PAGE, compare_architectures

    try:
        n_parameters = None if parameters is None else parse_count(parameters)
    except ValueError as error:
        raise GroundupError(f"--parameters: {error}") from None
    reporter = Terminal()
    names = [name.strip() for name in models.split(",") if name.strip()]
    try:
        found = compare_architectures(
            list(data), models=names, out=out, parameters=n_parameters, reporter=reporter, **given(settings)
        )
    except KeyboardInterrupt:
        reporter.say("stopped; the same command goes on")
        raise
    reporter.say()
    reporter.console.print(comparison_terminal(found))
    reporter.say()
    reporter.say(f"page        {out / PAGE}")
    for number, line in enumerate(next_commands(found)):
        reporter.say(f"{'next' if number == 0 else '':<12}{line}")
