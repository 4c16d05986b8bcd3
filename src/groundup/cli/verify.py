"""`groundup verify`: an independent reader opens the model and must get the same numbers."""

from __future__ import annotations

import click

from groundup.cli._options import NAME


@click.command(short_help="Check a model folder with transformers.")
@click.argument("model", type=NAME)
def command(model) -> None:
    """Open MODEL (a run or model folder) with `transformers` and compare its token ids, logits and greedy text with ours."""
    from groundup.checkpoints.model_folder import resolve_model
    from groundup.export.verify import verify_with_transformers

    folder = resolve_model(model)
    result = verify_with_transformers(folder)
    click.echo(f"{folder} opened with transformers {result.transformers_version}")
    click.echo(
        f"token ids equal; max |logit difference| {result.max_logit_difference:.1e} over {result.n_positions} positions; "
        f"{result.n_continued} greedy tokens equal"
    )
