"""Seconds of training to a validation loss: Groundup's default architecture and recipe against the peers' recipes.

    python benchmarks/time_to_loss.py --text tinyshakespeare.txt
    python benchmarks/time_to_loss.py --text another.txt --seeds 1 2 3 --runs groundup nanogpt

Text as characters; first 90 % for training, the rest for validation; context 64, batch 12. The loss is the mean over
all non-overlapping validation windows, by the same code for all. The clock counts steps only: compiling (stated apart),
evaluating and starting Python are off it.

- groundup: qwen3 form, 3 x 128, 250 steps, Muon; compiled, and eager.
- nanogpt: its README's recipe for a CPU: 4 x 128, 2,000 steps, AdamW, fp32, eager.
- nanochat: its model at 4 x 128, its optimizer and schedules at their default rates, 280 steps, bf16, compiled.

Every run is a process of its own and they take turns, one seed after the other. Where the peers are: see peers.py.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTEXT_LENGTH, BATCH_SIZE = 64, 12
RUNS = {
    "groundup": None,
    "groundup-eager": None,
    "nanogpt": "GROUNDUP_PEER_NANOGPT",
    "nanochat": "GROUNDUP_PEER_NANOCHAT",
}
STEPS = {"groundup": 250, "groundup-eager": 250, "nanogpt": 2000, "nanochat": 280}


@dataclass(frozen=True)
class Text:
    """Character ids: training part, validation part, and how many different ones there are."""

    train: Any
    validation: Any
    n_characters: int

    @classmethod
    def read(cls, path: str) -> Text:
        import torch

        text = Path(path).read_text(encoding="utf-8")
        characters = {character: i for i, character in enumerate(sorted(set(text)))}
        ids = torch.tensor([characters[character] for character in text])
        cut = int(len(ids) * 0.9)
        return cls(ids[:cut], ids[cut:], len(characters))

    def batch(self, seed: int, step: int) -> tuple[Any, Any]:
        """Random training windows: inputs and labels [12, 64]."""
        import torch

        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        starts = torch.randint(len(self.train) - CONTEXT_LENGTH, (BATCH_SIZE, 1), generator=generator)
        rows = self.train[starts + torch.arange(CONTEXT_LENGTH + 1)]
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()

    def loss(self, logits_of: Callable[[Any], Any]) -> float:
        """Mean loss over all non-overlapping validation windows."""
        import torch
        import torch.nn.functional as F

        n = (len(self.validation) - 1) // CONTEXT_LENGTH
        inputs = self.validation[: n * CONTEXT_LENGTH].view(n, CONTEXT_LENGTH)
        labels = self.validation[1 : n * CONTEXT_LENGTH + 1].view(n, CONTEXT_LENGTH)
        total = 0.0
        with torch.no_grad():
            for x, y in zip(inputs.split(64), labels.split(64), strict=True):
                total += F.cross_entropy(logits_of(x).float().flatten(0, 1), y.flatten(), reduction="sum").item()
        return total / labels.numel()


Result = dict[str, float]


def run_groundup(text: Text, seed: int, steps: int, compiled: bool) -> Result:
    """The product's model, loop and optimizer with its recipe."""
    from functools import partial

    import torch

    from groundup.data.batches import Batch
    from groundup.models import build_model, config_for_size
    from groundup.pretraining.recipe import MUON
    from groundup.training import precision
    from groundup.training.job import Budget, Job
    from groundup.training.loop import train
    from groundup.training.objectives import next_token_loss
    from groundup.training.optimizers import Optimizer, OptimizerSettings
    from groundup.training.schedules import warmup_stable_decay

    model = build_model(config_for_size("d3", text.n_characters, CONTEXT_LENGTH, d_model=128), seed)
    model.compute_dtype = torch.bfloat16
    start, objective = time.perf_counter(), next_token_loss
    if compiled:
        objective = precision.compiled(model, next_token_loss, Batch(*text.batch(seed, 0)))
    setup_seconds = time.perf_counter() - start
    settings = OptimizerSettings(
        matrix_learning_rate=MUON.learning_rate,
        embedding_learning_rate=MUON.embedding_learning_rate,
        head_learning_rate=MUON.head_learning_rate,
        vector_learning_rate=MUON.vector_learning_rate,
        weight_decay=MUON.weight_decay,
    )
    job = Job(
        model=model,
        batches=lambda step: [Batch(*text.batch(seed, step))],
        objective=objective,
        optimizer=Optimizer(model, settings),
        budget=Budget(steps=steps),
        schedule=partial(warmup_stable_decay, warmup_steps=round(MUON.warmup * steps), decay=MUON.decay),
        seed=seed,
    )
    seconds = train(job).place.elapsed_seconds
    model.eval()
    return {"seconds": seconds, "loss": text.loss(model), "setup_seconds": setup_seconds}


def run_nanogpt(text: Text, seed: int, steps: int) -> Result:
    """README, "i only have a macbook": config/train_shakespeare_char.py with its CPU flags."""
    sys.path.insert(0, os.environ["GROUNDUP_PEER_NANOGPT"])
    import model as nanogpt  # pyright: ignore[reportMissingImports]
    import torch

    torch.manual_seed(seed)
    config = nanogpt.GPTConfig(
        block_size=CONTEXT_LENGTH, vocab_size=text.n_characters, n_layer=4, n_head=4, n_embd=128, dropout=0.0, bias=False
    )  # fmt: skip
    net = nanogpt.GPT(config)
    optimizer = net.configure_optimizers(0.1, 1e-3, (0.9, 0.99), "cpu")
    start = time.perf_counter()
    for step in range(steps):
        rate = 1e-3 * (step + 1) / 101 if step < 100 else 1e-4 + 9e-4 * 0.5 * (
            1 + math.cos(math.pi * (step - 100) / (steps - 100))
        )  # fmt: skip
        for group in optimizer.param_groups:
            group["lr"] = rate
        net(*text.batch(seed, step))[1].backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - start
    net.eval()
    # Without targets it gives the last position only; with them, all logits.
    return {"seconds": seconds, "loss": text.loss(lambda x: net(x, x)[0]), "setup_seconds": 0.0}


def run_nanochat(text: Text, seed: int, steps: int) -> Result:
    """Its base_train.py, without the flags that need a GPU: rates, warm-up, warm-down and momentum as it sets them."""
    os.environ["NANOCHAT_DTYPE"] = "bfloat16"
    sys.path.insert(0, str(Path(__file__).parent))
    import torch
    from peers import nanochat_model

    torch.manual_seed(seed)
    net, optimizer = nanochat_model(4, 128, 4, CONTEXT_LENGTH, text.n_characters)
    run = torch.compile(net, dynamic=False)
    start = time.perf_counter()
    run(*text.batch(seed, 0)).backward()
    # The optimizer compiles itself at its first step: taken at rate 0, and its averages thrown away.
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.step()
    optimizer.state.clear()
    setup_seconds = time.perf_counter() - start
    net.zero_grad(set_to_none=True)
    warmdown = round(0.65 * steps)
    start = time.perf_counter()
    for step in range(steps):
        left = (steps - step) / warmdown
        factor = min(1.0, (step + 1) / 40, left + (1 - left) * 0.05 if left < 1 else 1.0)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
            if group["kind"] == "muon":
                group["momentum"] = 0.85 + 0.12 * min(1.0, step / 400)
        run(*text.batch(seed, step)).backward()
        optimizer.step()
        net.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "loss": text.loss(net), "setup_seconds": setup_seconds}


def work(name: str, text_path: str, seed: int, steps: int, threads: int) -> Result:
    """One run, in this process."""
    import torch

    torch.set_num_threads(threads)
    text = Text.read(text_path)
    if name.startswith("groundup"):
        return run_groundup(text, seed, steps, compiled=name == "groundup")
    return {"nanogpt": run_nanogpt, "nanochat": run_nanochat}[name](text, seed, steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, help="instead of each recipe's own number; for one --runs")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        answers, (name,), (seed,) = sys.stdout, arguments.runs, arguments.seeds
        with contextlib.redirect_stdout(sys.stderr):  # libraries print; the answer must stand alone
            result = work(name, arguments.text, seed, arguments.steps, arguments.threads)
        print(json.dumps(result), file=answers)
        return

    results: dict[str, list[Result]] = {}
    for seed in arguments.seeds:
        for name in arguments.runs:
            variable = RUNS[name]
            if variable and not os.environ.get(variable):
                print(f"absent: {name} ({variable} is not set)")
                continue
            command = [
                sys.executable, __file__, "--worker", "--text", arguments.text, "--runs", name, "--seeds", str(seed),
                "--steps", str(arguments.steps or STEPS[name]), "--threads", str(arguments.threads),
            ]  # fmt: skip
            environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            if done.returncode:
                print(f"failed: {name}, seed {seed}: {done.stderr.strip().splitlines()[-1:]}")
                continue
            result = json.loads(done.stdout)
            results.setdefault(name, []).append(result)
            print(f"{name}, seed {seed}: loss {result['loss']:.4f} after {result['seconds']:.1f} s", flush=True)
    print_table(results, arguments.steps)


def print_table(results: dict[str, list[Result]], steps: int | None) -> None:
    """Markdown: means over the seeds; the last column against nanoGPT's clock."""
    print("\n| run | steps | mean val loss (seeds) | clock s | set-up s | x nanoGPT's clock |")
    print("|---|---:|---:|---:|---:|---:|")

    def mean(name: str, key: str) -> float:
        return statistics.mean(result[key] for result in results[name])

    for name, found in results.items():
        losses = " ".join(f"{result['loss']:.3f}" for result in found)
        ratio = f"1/{mean('nanogpt', 'seconds') / mean(name, 'seconds'):.1f}" if "nanogpt" in results else "-"
        print(
            f"| {name} | {steps or STEPS[name]} | {mean(name, 'loss'):.4f} ({losses}) | {mean(name, 'seconds'):.1f} "
            f"| {mean(name, 'setup_seconds'):.0f} | {ratio} |"
        )


if __name__ == "__main__":
    main()
