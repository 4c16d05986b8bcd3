"""How a training will read its text, told before it begins: the sources, how often each is read, what is cut."""

from __future__ import annotations

from groundup.data.batches import TrainingBatches
from groundup.data.cuts import said_cuts
from groundup.data.mixture import Mixture
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.plan import Plan, readable_count


def said_reading(mixture: Mixture, config: PretrainConfig, plan: Plan) -> list[str]:
    """Lines on what each source gives to the run of a plan, and on what the rows cut."""
    rows = mixture.rows(plan.context_length, packing=config.packing, stride=config.stride)
    lines = []
    if mixture.is_mixed:
        batches = TrainingBatches(
            rows, batch_size=plan.batch_size, micro_batch_size=plan.batch_size, seed=0, parts=mixture.parts
        )
        table = [("source", "weight", "share", "has tokens", "reads tokens", "epochs")]
        weights = [each.weight for each in config.mix]
        for source, weight, share, done in zip(
            mixture.sources, weights, mixture.shares, batches.progress(plan.steps), strict=True
        ):
            has = readable_count(source.store.split("train").n_tokens)
            given = "by size" if weight is None else f"{weight:g}"
            epochs = f"{done.epochs:.2g}" if done.epochs < 10 else f"{done.epochs:.0f}"
            table.append((source.name, given, f"{share:.1%}", has, readable_count(done.tokens), epochs))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines += ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        total = sum(weight for weight in weights if weight is not None)
        if total and abs(total - 1) > 1e-9:
            lines.append(f"the weights sum to {total:g}; a share is a weight divided by that")
        without = [each.name for each in mixture.sources if each.store.split("validation").n_tokens < 2]
        if without:
            lines.append(f"{' and '.join(without)}: no validation text, so it is not in the validation loss")
    for source, of_source in zip(mixture.sources, rows, strict=True):
        lines.append(f"reading     {source.name + ': ' if source.name else ''}{said_cuts(of_source)}")
    return lines
