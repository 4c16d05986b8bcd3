"""`groundup resume`: go on with a run that was stopped or killed."""

from __future__ import annotations

import click

from groundup.cli._options import PATH


@click.command(short_help="Go on with a run that was stopped or killed.")
@click.argument("run", type=PATH)
@click.option(
    "--changed-sources",
    type=click.Choice(["refuse", "accept", "ignore"]),
    help="What to do when a file the data was prepared from has changed; as the run began if left out.",
)
def command(run, changed_sources) -> None:
    """Go on with RUN (a run folder) from its last saved state; nothing else is needed."""
    from groundup.core.errors import GroundupError
    from groundup.core.progress import Terminal
    from groundup.core.runs import method_of

    if method := method_of(run):
        from groundup.finetuning.run import resume as go_on

        if changed_sources:
            raise GroundupError(f"--changed-sources has no effect on a run of finetune {method}; leave it out")
        result = go_on(run, reporter=Terminal())
    else:
        from groundup.pretraining.pretrain import resume

        result = resume(run, changed_sources=changed_sources, reporter=Terminal())
    if result.interrupted:
        raise SystemExit(130)
