"""Training throughput, side by side with the peers: tokens a second at equal model, batch and context.

    python benchmarks/training_speed.py b            # 6 x 384, context 256, batch 16, 65 characters
    python benchmarks/training_speed.py c            # 6 x 384, context 256, batch 8, 50,257 tokens
    python benchmarks/training_speed.py d            # GPT-2 124M, context 256, batch 4
    python benchmarks/training_speed.py b --contenders "groundup bf16 compiled, nanogpt fp32 eager"

Every contender runs in its own process and they take turns (A B C A B C ...); printed is the median of the rounds, and
of the ratios within a round. Where the peers are: see peers.py. Ceiling: the best large matrix product of this machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import torch

from groundup.core.device import machine_info, measure_ceiling

sys.path.insert(0, str(Path(__file__).parent))
from peers import Contender, Shape, Worker

SHAPES = {
    "a": Shape(n_layers=4, d_model=128, n_heads=4, context_length=64, batch_size=12, vocab_size=65),
    "b": Shape(n_layers=6, d_model=384, n_heads=6, context_length=256, batch_size=16, vocab_size=65),
    "c": Shape(n_layers=6, d_model=384, n_heads=6, context_length=256, batch_size=8, vocab_size=50257),
    "d": Shape(n_layers=12, d_model=768, n_heads=12, context_length=256, batch_size=4, vocab_size=50257),
}
CONTENDERS = (
    "groundup bf16 compiled, groundup bf16 eager, nanogpt bf16 compiled, nanogpt fp32 eager, "
    "litgpt bf16 compiled, transformers bf16 compiled, nanochat bf16 compiled"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--contenders", default=CONTENDERS, help="comma-separated, e.g. 'litgpt fp32 eager'")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of steps, a contender and round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape = SHAPES[arguments.shape]

    workers: list[Worker] = []
    for contender in map(Contender.parse, arguments.contenders.split(",")):
        if contender.absent:
            print(f"absent: {contender} ({contender.absent})")
            continue
        try:
            workers.append(Worker(contender, shape, arguments.threads))
        except RuntimeError as error:
            print(f"failed: {error}")
    seconds: list[list[float]] = [[] for _ in workers]  # of a step, by worker and round
    ceilings: list[float] = []
    peaks = [0.0] * len(workers)
    for _ in range(arguments.rounds):
        measure_ceiling.cache_clear()
        ceilings.append(measure_ceiling("cpu", torch.bfloat16))
        for i, worker in enumerate(workers):
            n = max(1, round(arguments.seconds / worker.ready["step_seconds"]))
            answer = worker.steps(n)
            seconds[i].append(answer["seconds"] / n)
            peaks[i] = answer["peak_bytes"]
    for worker in workers:
        worker.close()
    print_table(shape, workers, seconds, peaks, statistics.median(ceilings), arguments.shape)


def print_table(
    shape: Shape, workers: list[Worker], seconds: list[list[float]], peaks: list[float], ceiling: float, name: str
) -> None:
    """Markdown: one line a contender, the ratio against the fastest peer of each round."""
    machine = machine_info()
    print(f"\n{machine['cpu']}, {machine['torch_threads']} threads, torch {machine['torch']}", end="; ")
    print(f"bf16 ceiling {ceiling / 1e9:.0f} GFLOP/s")
    print(f"shape {name}: {shape}")
    print("\n| contender | tokens/s (range) | x fastest peer | share of bf16 ceiling | peak RSS MB | set-up s |")
    print("|---|---:|---:|---:|---:|---:|")
    others = [i for i, worker in enumerate(workers) if worker.contender.package != "groundup"]
    fastest = min(others, key=lambda i: statistics.median(seconds[i]), default=None)
    for i, worker in enumerate(workers):
        speeds = [shape.tokens_per_step / s for s in seconds[i]]
        speed = statistics.median(speeds)
        ratio = "-"
        if fastest is not None:
            ratio = f"{statistics.median(f / s for f, s in zip(seconds[fastest], seconds[i], strict=True)):.2f}"
        share = speed * shape.flops_per_token / ceiling
        print(
            f"| {worker.contender} | {speed:,.0f} ({min(speeds):,.0f}-{max(speeds):,.0f}) | {ratio} | {share:.0%} "
            f"| {peaks[i] / 1e6:,.0f} | {worker.ready['setup_seconds']:.0f} |"
        )


if __name__ == "__main__":
    main()
