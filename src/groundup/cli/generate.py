"""`groundup generate`: a model writes."""

from __future__ import annotations

import click

from groundup.cli._options import NAME, config_options, given
from groundup.generation.settings import SamplingSettings


@click.command(short_help="Let a model write.")
@click.argument("model", type=NAME)
@click.argument("prompt", nargs=-1)
@config_options(SamplingSettings, skip=("stop",))
@click.option("--stop", multiple=True, help="Stop before this text (may be given more than once).")
@click.option("--samples", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Texts for each prompt.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "int8"]),
    default="fp32",
    show_default=True,
    help="int8: 8-bit weights, the fastest on a CPU, at a small loss.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--base", help="Where the base of an adapter lies, if it is not where its files say.")
def command(model, prompt, stop, samples, precision, device, base, **settings) -> None:
    """Continue each PROMPT with MODEL (a run, model or adapter folder, or a hub name); no prompt: start a new text."""
    from groundup.core.progress import Terminal
    from groundup.generation.text_model import load

    settings = given(settings) | ({"stop": list(stop)} if stop else {})
    settings = SamplingSettings.build(settings, source="groundup generate").model_dump()
    writer = load(model, base=base, precision=precision, device=device, packed=True, reporter=Terminal())
    prompts = list(prompt) or [""]
    if len(prompts) == 1 and samples == 1:
        click.echo(prompts[0], nl=False)
        for piece in writer.stream(prompts[0], **settings):
            click.echo(piece, nl=False)
        click.echo()
        return
    for number, text in enumerate(prompts):
        for continuation in writer.generate(text, n_samples=samples, **settings):
            click.echo(f"{'' if number == 0 else chr(10)}{text}{continuation}")
