"""A rehearsal: a few real steps of a model on this machine, to learn what a step costs in seconds and bytes.

No table of processors and no formula for speed: a candidate is built, given real batches of the real text through the very
`take_step` of the training loop, timed, and thrown away. Only two things are counted rather than timed: the bytes that
autograd keeps for the backward pass (by listening to what it saves), and those of weights, gradients and optimizer.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from groundup.data.batches import TrainingBatches
from groundup.data.packing import Rows
from groundup.models import LanguageModel, ModelConfig, build_model
from groundup.training.job import Budget, Job
from groundup.training.memory import keep_freed_memory
from groundup.training.objectives import LOGITS_AT_ONCE, next_token_loss
from groundup.training.optimizers import Optimizer, OptimizerSettings
from groundup.training.precision import choose_dtype
from groundup.training.step import take_step

FEWEST_STEPS = 3
WARM_UP_STEPS = 2  # start threads, take memory, make the optimizer's state: the first takes up to 1.4 times as long
# Peak memory over the bytes counted. What is there all the time (weights, gradients, optimizer) is little more than itself. What
# a step takes and frees is over twice as much: gradients come on top, and the C library keeps what is freed, in pieces of the
# wrong size (training/memory.py), and more so where a step has several micro-batches. Fitted while blocks of logits over
# 64 MiB still went back at once, to the peaks of 20 runs on two cores with glibc, all within 5 % (d2 to d6, 1,024 and 8,192
# tokens, contexts of 64 and 256, fp32 and bf16); PyTorch's own allocator on GPUs keeps less.
CPU_STATE, CPU_ACTIVATIONS, CPU_ACCUMULATED, GPU_ALLOCATOR = 1.6, 2.25, 2.9, 1.2
LOGIT_BYTES = {"bf16": 12, "fp32": 8}  # a block: logits, log-softmax in fp32, gradient
CPU_START_BYTES = 45_000_000  # libraries that the first step and the report wake
# Before anything is timed: weights, gradients and optimizer, a parameter; and what is kept for the backward pass, for a token, a
# layer and a unit of width (measured 67 to 109 bytes in fp32: gpt2 and qwen3, d2 to d6).
PARAMETER_BYTES, ACTIVATION_BYTES = 16, 110
DISK_BYTES_PER_SECOND = 2e8  # an ordinary disk; decides little


@dataclass(frozen=True)
class Rehearsal:
    """What a model costs here: in seconds, and in bytes beyond those of a process that has done nothing yet."""

    device: str
    dtype: str  # "fp32" or "bf16": what it was timed in
    dtype_reason: str
    n_rows: int  # windows it was timed with
    row_seconds: float  # forward and backward, a window
    update_seconds: float  # the optimizer, a step
    forward_row_seconds: float  # an evaluation, a window
    new_token_seconds: float  # a token of a sample
    saved_row_bytes: int  # kept for the backward pass, a window
    weight_bytes: int
    optimizer_bytes: int

    def step_seconds(self, batch_size: int, gain: float = 1.0) -> float:
        """Seconds of a step of so many windows, forward and backward being `gain` times as fast as rehearsed."""
        return batch_size * self.row_seconds / gain + self.update_seconds

    def look_seconds(self, n_windows: float, sample_tokens: int) -> float:
        """Seconds of a look at the model: an evaluation, a sample, and the model folder."""
        writing = self.weight_bytes / DISK_BYTES_PER_SECOND
        return n_windows * self.forward_row_seconds + sample_tokens * self.new_token_seconds + writing

    def save_seconds(self) -> float:
        """Seconds of a save of the training state."""
        return (self.weight_bytes + self.optimizer_bytes) / DISK_BYTES_PER_SECOND

    def memory_bytes(
        self, micro_batch_size: int, context_length: int, vocab_size: int, accumulates: bool = False
    ) -> int:
        """Most bytes in use at once, over those of the bare process; `accumulates` when a step has several micro-batches.

        At the top of the backward pass everything saved is there, with the weights' copies in bf16, and so are a block
        of logits, its softmax and its gradient, in fp32 and in `dtype`. While the state is saved, the optimizer's is
        there twice.
        """
        n_logits = min(micro_batch_size * context_length * vocab_size, LOGITS_AT_ONCE + vocab_size)
        logits = LOGIT_BYTES[self.dtype] * n_logits
        copies = self.weight_bytes // 2 if self.dtype == "bf16" else 0
        state = 2 * self.weight_bytes + copies + self.optimizer_bytes  # weights and gradients
        saved = micro_batch_size * self.saved_row_bytes
        if self.device.startswith("cuda"):
            return round(GPU_ALLOCATOR * (state + max(saved + logits, self.optimizer_bytes)))
        step = (CPU_ACCUMULATED if accumulates else CPU_ACTIVATIONS) * saved + logits
        return round(CPU_STATE * state + max(step, self.optimizer_bytes)) + CPU_START_BYTES

    def scaled(self, known: ModelConfig, model: ModelConfig) -> Rehearsal:
        """An estimate for another model than the `known` one of this rehearsal: seconds by arithmetic, bytes by sizes."""
        arithmetic = model.flops_per_token() / known.flops_per_token()
        update = model.matrix_parameters() * model.d_model / (known.matrix_parameters() * known.d_model)
        activations = model.n_layers * model.d_model / (known.n_layers * known.d_model)
        parameters = model.n_parameters() / known.n_parameters()
        return replace(
            self,
            row_seconds=self.row_seconds * arithmetic,
            forward_row_seconds=self.forward_row_seconds * arithmetic,
            update_seconds=self.update_seconds * update,
            new_token_seconds=self.new_token_seconds * parameters,
            saved_row_bytes=round(self.saved_row_bytes * activations),
            optimizer_bytes=round(self.optimizer_bytes * parameters),
            weight_bytes=round(self.weight_bytes * parameters),
        )


def least_bytes(model: ModelConfig, n_rows: int = 0) -> int:
    """Bytes that training a model takes at the very least, with what a batch of so many windows keeps; nothing is built."""
    batch = n_rows * model.context_length * model.n_layers * model.d_model * ACTIVATION_BYTES
    return PARAMETER_BYTES * model.n_parameters() + batch


def rehearse(
    config: ModelConfig,
    rows: Sequence[Rows],
    settings: OptimizerSettings,
    *,
    n_rows: int,
    parts: Sequence[int] = (1,),
    seconds: float,
    device: str = "cpu",
    precision: str = "auto",
) -> Rehearsal:
    """Train a new model of `config` on batches of `n_rows` rows for about `seconds`, at least `FEWEST_STEPS` steps.

    `rows` and `parts` are those of the sources it will read, as `TrainingBatches` takes them. A row's seconds depend on
    how many are computed at once, by up to a third and not in one direction (caches; blocks of memory that are kept or given
    back), so figures hold for `n_rows`. Steps count by their median: another program's moment is not the machine's speed.
    """
    keep_freed_memory()  # as the loop does
    model = build_model(config).to(device)
    batches = TrainingBatches(rows, batch_size=n_rows, micro_batch_size=n_rows, seed=0, parts=parts)
    dtype, reason = _dtype(model, batches, precision, seconds / 8)
    model.compute_dtype = torch.bfloat16 if dtype == "bf16" else torch.float32
    optimizer = Optimizer(model, settings)
    job = Job(model, batches, next_token_loss, optimizer, Budget(steps=1))
    model.train()
    for _ in range(WARM_UP_STEPS):
        take_step(job, 0, 0.0)  # a factor of 0 changes no weight
    saved_bytes = _saved_bytes(model, batches)

    steps = itertools.count(1)
    step_seconds = _median_seconds(lambda: take_step(job, next(steps), 1.0), device, seconds / 2)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    update_seconds = _median_seconds(lambda: optimizer.step(0.0), device)
    optimizer_bytes = sum(tensor.nbytes for tensor in optimizer.state_tensors().values())
    with torch.no_grad():
        batch = batches(0)[0].to(device)
        forward_seconds = _median_seconds(lambda: next_token_loss(model, batch), device)

    weight_bytes = sum(parameter.nbytes for parameter in model.parameters())
    copies = weight_bytes // 2 if dtype == "bf16" else 0
    return Rehearsal(
        device=device,
        dtype=dtype,
        dtype_reason=reason,
        n_rows=n_rows,
        row_seconds=max(step_seconds - update_seconds, step_seconds / 10) / n_rows,
        update_seconds=min(update_seconds, step_seconds),
        forward_row_seconds=forward_seconds / n_rows,
        new_token_seconds=_new_token_seconds(model, device),
        saved_row_bytes=max(0, saved_bytes - copies) // n_rows,
        weight_bytes=weight_bytes,
        optimizer_bytes=optimizer_bytes,
    )


def _median_seconds(work: Callable[[], object], device: str, seconds: float = 0.0) -> float:
    """Median seconds of `work`, done `FEWEST_STEPS` times and again until `seconds` are over."""
    times: list[float] = []
    while len(times) < FEWEST_STEPS or sum(times) < seconds:
        start = _now(device)
        work()
        times.append(_now(device) - start)
    return statistics.median(times)


@torch.no_grad()
def _new_token_seconds(model: LanguageModel, device: str) -> float:
    """Seconds of one token after another, as samples are written."""
    model.eval()
    state = model.new_state(1)
    token_11 = torch.zeros(1, 1, dtype=torch.int64, device=device)
    n_tokens = min(8, model.config.context_length)
    start = _now(device)
    for _ in range(n_tokens):
        model.unembed(model.trunk(token_11, state)[:, -1]).argmax().item()
    return (_now(device) - start) / n_tokens


def _dtype(model: LanguageModel, batches: TrainingBatches, precision: str, seconds: float) -> tuple[str, str]:
    """The arithmetic asked for, or the faster one."""
    if precision != "auto":
        return precision, f"{precision}: asked for"
    choice = choose_dtype(model, next_token_loss, batches(0)[0], seconds)
    return ("bf16" if choice.value == torch.bfloat16 else "fp32"), choice.reason


def _saved_bytes(model: LanguageModel, batches: TrainingBatches) -> int:
    """Bytes that autograd keeps after the forward pass of a batch, beyond the weights themselves."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = next_token_loss(model, batches(0)[0].to(next(model.parameters()).device))
        saved = sum(storages.values())
    del loss
    return saved


def _now(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()
