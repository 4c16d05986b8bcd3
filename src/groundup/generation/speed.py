"""How fast models write, by how much they have read: a token's time where attention looks back at all of it.

The one idea: the clock runs over single steps of the one engine, at the end of a text of each length, and models take turns,
so that a machine that slows down slows all of them. The median step of all rounds is told.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch

from groundup.core.progress import QUIET, Reporter
from groundup.generation.engine import Continuation, Engine
from groundup.generation.settings import SamplingSettings
from groundup.models.base import LanguageModel

NEW_TOKENS, ROUNDS, SHORTEST = 16, 3, 16


def lengths_up_to(context_length: int) -> list[int]:
    """16, 32, 64 and so on, and the whole context last."""
    lengths = [SHORTEST << power for power in range(32) if SHORTEST << power < context_length]
    return [*lengths, context_length]


def writing_speed(
    models: Mapping[str, LanguageModel], lengths: Sequence[int], *, reporter: Reporter = QUIET
) -> dict[str, dict[int, float]]:
    """Tokens a second of each model, one text at a time, as the text reaches each of `lengths` (in tokens, at least 4)."""
    seconds: dict[str, dict[int, list[float]]] = {name: {length: [] for length in lengths} for name in models}
    with reporter.bar("timing how fast they write", ROUNDS * len(lengths) * len(models)) as bar:
        for turn in range(ROUNDS):
            for length in lengths:
                for name, model in models.items():
                    seconds[name][length] += _step_seconds(model, length, seed=turn)
                    bar.advance(1, info=f"{name}, {length:,} tokens")
    return {
        name: {length: 1 / statistics.median(found) for length, found in by_length.items()}
        for name, by_length in seconds.items()
    }


def _step_seconds(model: LanguageModel, length: int, seed: int) -> list[float]:
    """The time of each of the last tokens of a text of `length`; its beginning is random and is read off the clock."""
    n_new = min(NEW_TOKENS, length // 2)
    generator = torch.Generator().manual_seed(seed)
    prompt = torch.randint(model.config.vocab_size, (length - n_new,), generator=generator).tolist()
    engine = Engine(model, batch_size=1)
    engine.add(Continuation(prompt, SamplingSettings(max_new_tokens=n_new + 1, temperature=0)))
    engine.step()  # reads the prompt and writes the first token
    times = [_now(model)]
    for _ in range(n_new):
        engine.step()
        times.append(_now(model))
    return [after - before for before, after in pairwise(times)]


def _now(model: LanguageModel) -> float:
    """The time once the device has done what it was asked for."""
    if next(model.parameters()).is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()
