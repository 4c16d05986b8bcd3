"""Every architecture against transformers' own class: tokens a second forward and backward, at equal sizes and dtype.

    python benchmarks/families.py                          # all architectures that transformers knows, eager
    python benchmarks/families.py --compile                # torch.compile for both
    python benchmarks/families.py --weights bf16           # weights in bf16, instead of fp32 weights computed with in bf16
    python benchmarks/families.py --only llama,olmo2 --threads 1

Sizes are those of one dial, about 25 million parameters in the blocks. Both sides live in this process, with the same
random tokens and the same loss, and take turns (A B A B ...); a speed is the median of the rounds, a ratio the median of
the ratios within a round. With fp32 weights ours casts in each layer, theirs runs under `torch.autocast`.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from groundup.core.device import machine_info
from groundup.models import architecture, architecture_names, build_model, config_for_size
from groundup.models.discovery import known_elsewhere

SIZE, VOCABULARY = "d8", 4096


@dataclass(frozen=True)
class Pair:
    """Our model and theirs, as functions that read one batch forward and backward."""

    n_parameters: int
    ours: Callable[[], None]
    theirs: Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="architectures, comma-separated")
    parser.add_argument("--compile", action="store_true", help="torch.compile for both")
    parser.add_argument("--weights", choices=("fp32", "bf16"), default="fp32", help="what the weights are kept in")
    parser.add_argument("--size", default=SIZE)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    machine, tokens = machine_info(), arguments.batch * arguments.context
    how = "compiled" if arguments.compile else "eager"
    print(
        f"{machine['cpu']}, {arguments.threads} threads, torch {machine['torch']}; {how}, {arguments.weights} weights"
    )
    print(f"size {arguments.size}, vocabulary {VOCABULARY}, batch {arguments.batch} x {arguments.context}\n")
    print("| architecture | parameters | ours tokens/s | transformers tokens/s | ratio (range) |")
    print("|---|---:|---:|---:|---:|")
    names = arguments.only.split(",") if arguments.only else [*filter(known_elsewhere, architecture_names())]
    ratios = []
    for name in names:
        pair = make(name, arguments)
        seconds = take_turns(pair, arguments.rounds)
        within = [theirs / ours for ours, theirs in seconds]
        ours, theirs = (tokens / statistics.median(side) for side in zip(*seconds, strict=True))
        ratios.append(statistics.median(within))
        spread = f"{ratios[-1]:.2f} ({min(within):.2f}-{max(within):.2f})"
        print(f"| {name} | {pair.n_parameters / 1e6:.1f}M | {ours:,.0f} | {theirs:,.0f} | {spread} |", flush=True)
        del pair
        torch.compiler.reset()
        gc.collect()
    if ratios:
        print(f"\nmedian {statistics.median(ratios):.2f}, least {min(ratios):.2f}")


def make(name: str, arguments: argparse.Namespace) -> Pair:
    """Both models of an architecture, warmed up."""
    import transformers

    family = architecture(name)
    config = config_for_size(arguments.size, VOCABULARY, arguments.context, name)
    ours = build_model(config).train()
    settings = transformers.AutoConfig.for_model(**family.to_hugging_face(config))
    theirs = transformers.AutoModelForCausalLM.from_config(settings, dtype=torch.float32).train()
    n_theirs = sum(parameter.numel() for parameter in theirs.parameters())
    assert n_theirs == ours.n_parameters(), f"{name}: {ours.n_parameters()} parameters here, {n_theirs} there"
    ours.compute_dtype = torch.bfloat16
    if arguments.weights == "bf16":
        ours.set_dtype(torch.bfloat16)
        theirs.to(torch.bfloat16)
    autocast = torch.autocast("cpu", torch.bfloat16) if arguments.weights == "fp32" else contextlib.nullcontext()
    read_ours, read_theirs = (torch.compile(model) if arguments.compile else model for model in (ours, theirs))
    length = arguments.context + 1
    ids = torch.randint(VOCABULARY, (arguments.batch, length), generator=torch.Generator().manual_seed(0))

    def step(logits: torch.Tensor) -> None:
        F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten()).backward()

    def ours_once() -> None:
        ours.zero_grad()
        step(read_ours(ids[:, :-1]))

    def theirs_once() -> None:
        theirs.zero_grad()
        with autocast:
            logits = read_theirs(ids[:, :-1], use_cache=False).logits
        step(logits)

    for _ in range(2):
        ours_once()
        theirs_once()
    return Pair(ours.n_parameters(), ours_once, theirs_once)


def take_turns(pair: Pair, rounds: int) -> list[tuple[float, float]]:
    """Seconds of one batch, (ours, theirs) a round."""
    seconds = []
    for _ in range(rounds):
        moments = [time.perf_counter()]
        for once in (pair.ours, pair.theirs):
            once()
            moments.append(time.perf_counter())
        seconds.append((moments[1] - moments[0], moments[2] - moments[1]))
    return seconds


if __name__ == "__main__":
    main()
