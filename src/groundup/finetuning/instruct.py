"""Instructions: a model learns to answer, in turns, and to stop.

The one idea: it is the next-token loss of pretraining, counted on the assistant's tokens alone, their end of turn included. The one
renderer (chat/) says which tokens these are; it also writes the prompts of every answer that is shown, so what is learned is what
is asked for.

    conversations -> data/train, data/validation: ids with a mask (instruct_data.py)
    -> rows packed best-fit, nobody sees a neighbour -> training, with looks at held-out answers (instruct_watching.py)
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from groundup.adapters.config import AdapterConfig
from groundup.chat.renderer import Renderer
from groundup.chat.templates import ChatTemplate, find_template
from groundup.core.files import read_json
from groundup.core.progress import Reporter
from groundup.core.runs import DataSummary, RunFolder, SourceSummary, SplitSummary
from groundup.data.batches import TrainingBatches
from groundup.data.examples import Examples, PackedExamples
from groundup.finetuning.base_model import Base, open_base, settle_precision, tokenizer_and_context
from groundup.finetuning.instruct_data import LONGEST_CONTEXT, SPLIT, InstructConfig, collect
from groundup.finetuning.instruct_watching import Watcher
from groundup.finetuning.run import Tuning
from groundup.tokenization.tokenizer import Tokenizer
from groundup.training.distributed import Ranks
from groundup.training.objectives import next_token_loss

Config = InstructConfig
__all__ = ["Config", "collect", "learning_rate", "prepare"]

SHORTEST_ROW = 256  # short examples share a row, which computes faster than many short ones
MICRO_BATCH_TOKENS = 2048


def prepare(config: InstructConfig, run: RunFolder, ranks: Ranks, reporter: Reporter) -> Tuning:
    """Open the model and the examples, and resolve what was left out; the first time, let the model answer as it is."""
    data = run.path / "data"
    train, held_out = (Examples.open(data / side) for side in ("train", "validation"))
    tokenizer, _ = tokenizer_and_context(config.model)
    config = _with_token_rows(config, tokenizer)
    base = open_base(config, ranks.device)
    made = read_json(data / SPLIT)
    template = ChatTemplate(**made["template"])  # as the examples were rendered, also when a file of it has changed
    base = replace(base, tokenizer=base.tokenizer.with_chat_template(template.source))
    renderer = Renderer(base.tokenizer, template)
    # What ends an answer ends generation: in generation_config.json for other tools, and in the engine here.
    ends = tuple(dict.fromkeys((*base.model.config.eos_ids, *renderer.stop_ids)))
    base.model.config = base.model.config.model_copy(update={"eos_ids": ends})

    config = _resolved(config, base, train, ranks)
    assert config.context_length and config.batch_size and config.micro_batch_size
    rows = PackedExamples(train, config.context_length, config.packing)
    batches = TrainingBatches(
        rows,
        batch_size=config.batch_size,
        micro_batch_size=config.micro_batch_size,
        seed=config.seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )
    if ranks.is_main and not run.plan.exists():
        for line in _reasons(config, train, rows):
            reporter.say(line)
    precision = settle_precision(config, base, next_token_loss, batches(0)[0], reporter)
    config = InstructConfig.build(config.model_dump() | {"precision": precision}, source="the resolved settings")
    assert config.context_length
    watcher = Watcher(config, base, run, PackedExamples(held_out, config.context_length), reporter)
    if ranks.is_main:
        watcher.note_answers_before()
    counts = {"train": train, "validation": held_out}
    return Tuning(
        config=config,
        model=base.model,
        batches=batches,
        objective=next_token_loss,
        steps_per_epoch=batches.steps_per_epoch,
        look=watcher.look,
        save=base.save,
        verify=lambda folder: base.verify(folder, torch.from_numpy(rows.rows(np.arange(1))[0])),
        finish=watcher.finish,
        n_parameters=base.model.config.n_parameters(),
        facts=base.facts() | {"chat template": template.name},
        data=DataSummary(
            sources=tuple(SourceSummary(path) for path in made["sources"]),
            splits={
                side: SplitSummary(each.manifest["n_conversations"], each.manifest["n_tokens"])
                for side, each in counts.items()
            },
            note="Conversations; only the assistant's answers are learned, with their end of turn.",
        ),
        next_commands=_next_commands(run.path),
        hashes={"model": base.sha256, "data": _key(train, held_out)},
    )


def _with_token_rows(config: InstructConfig, tokenizer: Tokenizer) -> InstructConfig:
    """With an adapter and a template that is not the model's own, the rows of the template's tokens are trained too.

    A base model has never seen `<|im_end|>`: its rows are as they were drawn, and an adapter on the layers alone would have to
    work around them.
    """
    if config.lora is None or AdapterConfig.parse(config.lora).new_tokens:
        return config
    template = find_template(config.template, tokenizer)
    if tokenizer.chat_template == template.source:
        return config
    renderer = Renderer(tokenizer, template)
    turn = renderer.ids([{"role": role, "content": "a"} for role in ("user", "assistant")])
    ids = sorted(renderer.structure_ids.intersection((*turn, *renderer.stop_ids)))
    tokens = f"tokens={'+'.join(str(id) for id in ids)}"
    return config.model_copy(update={"lora": ",".join(filter(None, (config.lora, tokens)))})


def _resolved(config: InstructConfig, base: Base, train: Examples, ranks: Ranks) -> InstructConfig:
    """The settings with nothing left to derive but the precision."""
    longest = int(train.lengths.max()) - 1
    limit = base.model.config.max_length
    context = config.context_length
    if context is None:  # the collected examples fit what was allowed; rows are no longer than needed
        context = max(longest, SHORTEST_ROW) if config.packing == "best-fit" else longest
        context = min(-(-context // 8) * 8, limit or LONGEST_CONTEXT)
    epochs = config.epochs
    if not (epochs or config.steps or config.time):
        epochs = 3.0 if len(train) <= 20_000 else 2.0 if len(train) <= 100_000 else 1.0
    rows = PackedExamples(train, context, config.packing)
    batch_size = config.batch_size
    if batch_size is None:
        # 32 examples a step, as most published recipes have within a factor of four; of few examples so many that the model is
        # moved a hundred times.
        examples = min(32.0, max(4.0, len(train) * (epochs or 3.0) / 100))
        batch_size = max(1, min(round(examples * len(rows) / len(train)), len(rows)))
        batch_size = -(-batch_size // ranks.world_size) * ranks.world_size
    micro = config.micro_batch_size
    if micro is None:
        share = batch_size // ranks.world_size
        most = max(1, MICRO_BATCH_TOKENS // rows.context_length)
        micro = next(n for n in range(min(share, most), 0, -1) if share % n == 0)
    rate = config.learning_rate or learning_rate(base.model.config.n_parameters(), lora=config.lora is not None)
    return InstructConfig.build(
        config.model_dump()
        | {
            "context_length": context,
            "epochs": epochs,
            "batch_size": batch_size,
            "micro_batch_size": micro,
            "learning_rate": rate,
        },
        source="the resolved settings",
    )


def learning_rate(n_parameters: int, *, lora: bool) -> float:
    """The peak rate: with the root of the size between two published recipes, ten times as much for an adapter.

    Alpaca (Taori et al. 2023) trained 7B parameters at 2e-5; the root gives 1.4e-4 for 135M, where SmolLM2's own recipe
    (Allal et al. 2025) goes to 1e-3 with batches of 128. We assume the rule holds below. An adapter wants about ten times
    the rate of full tuning (Schulman et al. 2025, "LoRA Without Regret").
    """
    full = min(1e-3, 2e-5 * (7e9 / n_parameters) ** 0.5)
    return float(f"{min(2e-3, 10 * full) if lora else full:.2g}")


def _reasons(config: InstructConfig, train: Examples, rows: PackedExamples) -> list[str]:
    assert config.batch_size
    lengths = train.lengths - 1
    steps = config.steps or (None if config.time else round((config.epochs or 1) * len(rows) / config.batch_size))
    budget = f"{steps:,} steps" if steps else f"{config.time:g} s"
    return [
        f"rows        {len(rows):,} of {rows.context_length:,} positions, {len(train) / len(rows):.1f} examples each, "
        f"{rows.padding:.1%} empty (examples have {int(np.median(lengths)):,} tokens at the median, {lengths.max():,} at most)",
        f"training    {budget}, {config.batch_size} rows a step ({config.batch_size * len(train) / len(rows):.0f} examples), "
        f"peak learning rate {config.learning_rate:.2g}",
    ]


def _key(*sides: Examples) -> str:
    content = [[each.manifest["key"], each.manifest["n_tokens"], each.manifest["n_trained"]] for each in sides]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _next_commands(path: Path) -> tuple[str, ...]:
    place = shlex.quote(str(path))
    return (f"groundup chat {place}", f"groundup review {place} --out review.html")
