"""Which way of laying text into rows learns best: `python benchmarks/packing.py TEXT --work FOLDER [--context-length 256]`.

The same small model is trained on the same text for the same number of steps with each packing and seed, one thread. Every
model is scored twice on the same validation documents: in windows, as a run scores itself (with documents kept apart, or
not, as it was trained), and each document from its own beginning, as far as the context reaches, which is how a model is used.

It also times the making of batches: `--time` prints CPU milliseconds of `batches(step)` against those of a training step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import groundup as gu
from groundup.checkpoints.model_folder import load_model
from groundup.core.runs import RunFolder
from groundup.data.batches import Batch, TrainingBatches
from groundup.data.packing import PACKINGS, PackedRows, training_rows
from groundup.evaluation.perplexity import evaluate
from groundup.models import build_model, config_for_size
from groundup.training.job import Budget, Job
from groundup.training.objectives import next_token_loss
from groundup.training.optimizers import Optimizer, OptimizerSettings
from groundup.training.step import take_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--context-length", type=int, default=256)
    parser.add_argument("--vocab-size", type=int, default=2048)
    parser.add_argument("--size", default="d2")
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--packings", nargs="+", default=list(PACKINGS))
    parser.add_argument("--time", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    store = prepared(given)
    if given.time:
        time_batches(store, given.context_length, given.size)
        return
    n_rows = store.split("train").n_tokens // given.context_length
    batch_size = max(1, 4096 // given.context_length)
    steps = max(1, round(given.epochs * n_rows / batch_size))
    print(f"{n_rows:,} windows of {given.context_length}, {steps} steps of {batch_size} rows")
    for seed in range(given.seeds):
        for packing in given.packings:
            row = trained(store, given, packing, seed, steps, batch_size)
            print(json.dumps(row), flush=True)


def prepared(given: argparse.Namespace) -> gu.TokenStore:
    folder = given.work / f"store-{given.vocab_size}"
    if not (folder / "manifest.json").exists():
        tokenizer = gu.train_tokenizer(given.text, vocab_size=given.vocab_size)
        gu.prepare(given.text, tokenizer, folder)
    return gu.TokenStore.open(folder)


def trained(store, given: argparse.Namespace, packing: str, seed: int, steps: int, batch_size: int) -> dict:
    """The scores of one run, made anew unless its folder is there."""
    out = given.work / f"{given.size}-{given.context_length}-{given.epochs:g}-{packing}-{seed}"
    if not (out / "report.html").exists():
        gu.pretrain(
            store.folder, out=out, size=given.size, context_length=given.context_length, steps=steps, seed=seed,
            packing=packing, batch_size=batch_size, micro_batch_size=batch_size, threads=1, precision="bf16", compile="off",
            evaluations=1, sample_tokens=0,
        )  # fmt: skip
    summary = RunFolder.open(out).read_summary()
    model, tokenizer = load_model(out / "model")
    rows = PackedRows(store.split("validation"), given.context_length)
    whole = evaluate(model, whole_documents(rows), tokenizer.token_bytes())
    return {
        "packing": packing, "seed": seed, "loss_in_windows": round(summary.val_loss or 0, 4),
        "loss_of_documents": round(whole.loss, 4), "standard_error": round(whole.loss_standard_error, 4),
        "training_seconds": round(summary.cost.training_seconds or 0, 1) if summary.cost else None,
    }  # fmt: skip


def whole_documents(rows: PackedRows, n_at_once: int = 16):
    """Every validation document from its beginning, packed for speed (which changes nothing)."""
    for at in range(0, len(rows), n_at_once):
        parts = rows.rows(np.arange(at, min(at + n_at_once, len(rows))))
        yield Batch(*map(torch.from_numpy, parts))


def time_batches(store, context_length: int, size: str, n_steps: int = 20) -> None:
    batch_size = max(1, 4096 // context_length)
    model = build_model(config_for_size(size, store.vocab_size, context_length))
    model.compute_dtype = torch.bfloat16
    optimizer = Optimizer(model, OptimizerSettings(0.02, 0.2, 0.01, 0.01))
    split = store.split("train")
    kinds = {name: ([training_rows(split, context_length, packing=name)], (1,), 0) for name in PACKINGS}
    packed = training_rows(split, context_length, packing="best-fit")
    kinds["best-fit, 1-3 tokens dropped"] = ([packed], (1,), 3)
    kinds["mixture of 8, best-fit"] = ([packed] * 8, (30, 20, 15, 10, 10, 8, 5, 2), 0)
    for name, (rows, parts, most) in kinds.items():
        batches = TrainingBatches(
            rows, batch_size=batch_size, micro_batch_size=batch_size, seed=0, parts=parts, drop_tokens=most
        )
        job = Job(model, batches, next_token_loss, optimizer, Budget(steps=1))
        making, stepping = [], []
        for step in range(n_steps):
            began = time.process_time()
            batches(step)
            making.append(time.process_time() - began)
            began = time.process_time()
            take_step(job, step, 0.0)
            stepping.append(time.process_time() - began)
        make, step = 1000 * statistics.median(making), 1000 * statistics.median(stepping)
        print(f"{name:30} batch {make:7.2f} ms   step {step:8.1f} ms   {make / step:.2%}")


if __name__ == "__main__":
    main()
