"""In which arithmetic, and whether compiled: decided by timing this model on this machine, said in one line.

The one idea: no table of processors. bf16 halves the bytes and, where the processor has the instructions, doubles the
speed; where it has not, it is emulated and slower; and a small model may gain nothing either way. A forward and
backward pass of the real batch tells. These passes leave no trace: no weight is touched, gradients and random numbers
are put back.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from groundup.core.progress import QUIET, Reporter
from groundup.training.memory import keep_freed_memory
from groundup.training.objectives import Objective, TrainedModel, TrainingBatch

T = TypeVar("T")

WORTH_BF16 = 1.05  # times faster; below it the exact arithmetic is the better choice
# Models of 0.6 to 124 million parameters took 15 to 50 s to compile on two cores, and steps then were 1.1 to 1.5 times
# faster: a run that is shorter does not earn it back.
WORTH_COMPILING_SECONDS = 300.0


@dataclass(frozen=True)
class Choice(Generic[T]):
    """What was chosen, and why, in one line."""

    value: T
    reason: str


def choose_dtype(
    model: TrainedModel, objective: Objective, batch: TrainingBatch, seconds: float = 1.0
) -> Choice[torch.dtype]:
    """fp32 or bf16 as the compute dtype, by the time of a forward and backward pass of `batch` in each.

    Takes about twice `seconds`, or two passes of each when they are slower. The model's own dtype is as before
    afterwards.
    """
    before = model.compute_dtype
    times = {}
    try:
        for dtype in (torch.float32, torch.bfloat16):
            model.compute_dtype = dtype
            times[dtype] = time_pass(model, objective, batch, seconds)
    finally:
        model.compute_dtype = before
    gain = times[torch.float32] / times[torch.bfloat16]
    figures = f"bf16 is {gain:.2f} times as fast as fp32 here"
    if gain >= WORTH_BF16:
        return Choice(torch.bfloat16, f"bf16: {figures}")
    return Choice(torch.float32, f"fp32: {figures}")


def compile_decision(planned_seconds: float, device: str = "cpu") -> Choice[bool]:
    """Whether to compile a training that is planned to take so long."""
    missing = missing_for_compile(device)
    if missing:
        return Choice(False, f"not compiled: {missing} is missing")
    if planned_seconds < WORTH_COMPILING_SECONDS:
        return Choice(False, f"not compiled: it takes about half a minute, too much of {planned_seconds:.0f} s")
    return Choice(True, "compiled: the run is long enough to earn the compile time back")


def missing_for_compile(device: str = "cpu") -> str | None:
    """What torch.compile would need on this machine and does not find, or None."""
    compilers = [os.environ.get("CXX", ""), "g++", "c++", "clang++"]
    if not any(shutil.which(name) for name in compilers if name):
        return "a C++ compiler"
    if device == "cpu" and not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        return "Python.h (the Python development headers)"
    return None


def compiled(model: TrainedModel, objective: Objective, batch: TrainingBatch, reporter: Reporter = QUIET) -> Objective:
    """The objective compiled for batches of this shape; the plain one, with a warning, where compiling fails.

    Compiles at once (15 to 50 s), by a pass that leaves no trace.
    """
    from torch._functorch import config as partitioning

    fast: Objective = torch.compile(objective, dynamic=False)
    try:
        # What is cheap (no matrix product, no sum) is computed again in the backward pass rather than kept: at 6 x 384
        # with 16 x 256 tokens 190 MB are kept instead of 384. Unset, the compiler keeps whatever a product reads.
        # What was compiled is found again by later processes, also where a step of ours has its own backward pass: all
        # of those are pure functions of their arguments, which is what PyTorch leaves to us to know (its pull 149751).
        with partitioning.patch(aggressive_recomputation=True, autograd_cache_allow_custom_autograd_functions=True):
            time_pass(model, fast, batch, seconds=0.0)
    except Exception as error:  # compilers fail in countless ways, and training must not depend on one
        torch.compiler.reset()
        reporter.warn(f"torch.compile failed, training goes on without it ({type(error).__name__}: {str(error)[:200]})")
        return objective
    return fast


def time_pass(model: TrainedModel, objective: Objective, batch: TrainingBatch, seconds: float) -> float:
    """Seconds of a forward and backward pass: the median of as many as fit into `seconds`, after one to warm up."""
    keep_freed_memory()  # as the loop does, so that the times are its times
    parameters = list(model.parameters())
    gradients = [parameter.grad for parameter in parameters]
    device = parameters[0].device
    batch = batch.to(device)
    times: list[float] = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            for _ in range(100):
                for parameter in parameters:
                    parameter.grad = None
                start = time.perf_counter()
                loss = objective(model, batch)
                (loss / batch.n_targets).backward()
                loss.item()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                times.append(time.perf_counter() - start)
                if len(times) > 1 and sum(times[1:]) >= seconds:
                    break
        finally:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
    return statistics.median(times[1:])
