"""`groundup resume`: go on with a run that was stopped or killed."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Go on with a run that was stopped or killed.")
@click.argument("run", type=click.Path(path_type=Path))
def command(run) -> None:
    """Go on with RUN (a run folder) from its last saved state; nothing else is needed."""
    from groundup.core.progress import Terminal
    from groundup.pretraining.pretrain import resume

    if resume(run, reporter=Terminal()).interrupted:
        raise SystemExit(130)
