"""The selective scan of Mamba: a memory that decays and takes in at a rate of each token's own choice.

`h' = exp(step rate) h + step x b`, `y = c h`: every channel of the input keeps N numbers, each with its own (negative) rate;
how long a step is, what is written (b) and what is read (c) follow from the token. Source: Gu and Dao 2023, "Mamba",
section 3.2, algorithm 2, discretised as in their section 2 (exact for the decay, Euler for the input).

Three ways behind one meaning, tested equal:
- `reference_scan`, one token after another;
- `chunked_scan`, for any device: a chunk of steps at a time, so that all but the recurrence itself (one multiplication
  and addition a step) is done for many tokens at once, and reading and writing are batched matrix products. Only the
  memory between chunks is kept for the backward pass, which makes the rest anew. Decays are multiplied, never divided
  by, so nothing can overflow;
- the kernel of the library `mamba_ssm`, on a GPU where it is installed.
All compute in fp32: a decay near 1 loses its meaning in fewer bits.

Shapes: B batch, T tokens, E channels, N numbers a channel remembers.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

import torch
from torch import Tensor, nn

CHUNK = 16  # steps; 4 to 32 were equally fast on a CPU, and what is kept falls with it


def reference_scan(
    x_BTE: Tensor,
    step_BTE: Tensor,
    rate_NE: Tensor,
    b_BTN: Tensor,
    c_BTN: Tensor,
    memory_BNE: Tensor,
    fresh_BT: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What is read [B, T, E] and what is remembered in the end [B, N, E], one token after another; all in fp32.

    Where `fresh_BT` is true a new document begins, and nothing from before is remembered.
    """
    outputs = []
    for t in range(x_BTE.shape[1]):
        decay_BNE = torch.exp(step_BTE[:, t, None] * rate_NE)
        if fresh_BT is not None:
            decay_BNE = decay_BNE * ~fresh_BT[:, t, None, None]
        taken_BE = step_BTE[:, t] * x_BTE[:, t]
        memory_BNE = decay_BNE * memory_BNE + taken_BE[:, None] * b_BTN[:, t, :, None]
        outputs.append((c_BTN[:, t, :, None] * memory_BNE).sum(1))
    return torch.stack(outputs, dim=1), memory_BNE


def chunked_scan(
    x_BTE: Tensor,
    step_BTE: Tensor,
    rate_NE: Tensor,
    b_BTN: Tensor,
    c_BTN: Tensor,
    memory_BNE: Tensor,
    fresh_BT: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The same as `reference_scan`, a chunk of steps at a time."""
    taken_BTE = step_BTE * x_BTE
    over_time = [tensor.transpose(0, 1).contiguous() for tensor in (taken_BTE, step_BTE, b_BTN, c_BTN)]
    kept_TB = None if fresh_BT is None else (~fresh_BT).transpose(0, 1).to(x_BTE.dtype)
    y_TBE, end_BNE, _ = _scan(*over_time, rate_NE.contiguous(), memory_BNE.contiguous(), kept_TB)
    return y_TBE.transpose(0, 1), end_BNE


# An operation of its own, which the compiler takes as one: unrolled, its steps would take it minutes.
@torch.library.custom_op("groundup::scan", mutates_args=())
def _scan(
    taken_TBE: Tensor,
    step_TBE: Tensor,
    b_TBN: Tensor,
    c_TBN: Tensor,
    rate_NE: Tensor,
    memory_BNE: Tensor,
    kept_TB: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What is read, the memory in the end, and that before each chunk [chunks, B, N, E]; time comes first."""
    n_steps = taken_TBE.shape[0]
    y_TBE = torch.empty_like(taken_TBE)
    starts_KBNE = memory_BNE.new_empty(-(-n_steps // CHUNK), *memory_BNE.shape)
    for k, start_BNE in enumerate(starts_KBNE):
        start_BNE.copy_(memory_BNE)
        chunk = slice(k * CHUNK, (k + 1) * CHUNK)
        _, memories_CBNE = _memories(start_BNE, taken_TBE, step_TBE, b_TBN, rate_NE, kept_TB, chunk)
        y_TBE[chunk] = (c_TBN[chunk, :, None] @ memories_CBNE)[:, :, 0]
        memory_BNE = memories_CBNE[-1]
    return y_TBE, memory_BNE.clone(), starts_KBNE


def _memories(
    memory_BNE: Tensor,
    taken_TBE: Tensor,
    step_TBE: Tensor,
    b_TBN: Tensor,
    rate_NE: Tensor,
    kept_TB: Tensor | None,
    chunk: slice,
) -> tuple[Tensor, Tensor]:
    """The decays and the memories after each step of a chunk, [C, B, N, E] both."""
    decays_CBNE = (step_TBE[chunk, :, None] * rate_NE).exp_()
    if kept_TB is not None:
        decays_CBNE *= kept_TB[chunk, :, None, None]
    memories_CBNE = taken_TBE[chunk, :, None] * b_TBN[chunk, :, :, None]
    for decay_BNE, taken_BNE in zip(decays_CBNE, memories_CBNE, strict=True):
        memory_BNE = taken_BNE.addcmul_(decay_BNE, memory_BNE)
    return decays_CBNE, memories_CBNE


@torch.library.custom_op("groundup::scan_backward", mutates_args=())
def _scan_backward(
    d_y_TBE: Tensor,
    d_end_BNE: Tensor,
    starts_KBNE: Tensor,
    taken_TBE: Tensor,
    step_TBE: Tensor,
    b_TBN: Tensor,
    c_TBN: Tensor,
    rate_NE: Tensor,
    kept_TB: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of what `_scan` takes, from the last chunk to the first."""
    d_taken, d_step = torch.empty_like(taken_TBE), torch.empty_like(step_TBE)
    d_b, d_c, d_rate_NE = torch.empty_like(b_TBN), torch.empty_like(c_TBN), torch.zeros_like(rate_NE)
    d_memory_BNE = d_end_BNE.clone()
    for k in reversed(range(starts_KBNE.shape[0])):
        chunk = slice(k * CHUNK, (k + 1) * CHUNK)
        decays, memories = _memories(starts_KBNE[k], taken_TBE, step_TBE, b_TBN, rate_NE, kept_TB, chunk)
        d_c[chunk] = (memories @ d_y_TBE[chunk, :, :, None])[..., 0]
        d_memories = d_y_TBE[chunk, :, None] * c_TBN[chunk, :, :, None]
        for t in reversed(range(decays.shape[0])):
            d_memories[t] += d_memory_BNE
            d_memory_BNE = decays[t].mul_(d_memories[t])  # the decays now hold what flows back past each step
        d_memory_BNE = d_memory_BNE.clone()
        d_b[chunk] = (d_memories @ taken_TBE[chunk, :, :, None])[..., 0]
        d_taken[chunk] = (b_TBN[chunk, :, None] @ d_memories)[:, :, 0]
        # A decay is exp(step rate): its gradient by the exponent is what flowed past, times what was remembered.
        d_exponents = decays
        d_exponents[0] *= starts_KBNE[k]
        d_exponents[1:] *= memories[:-1]
        d_step[chunk] = torch.mul(d_exponents, rate_NE, out=d_memories).sum(2)
        d_rate_NE += d_exponents.mul_(step_TBE[chunk, :, None]).sum((0, 1))
    return d_taken, d_step, d_b, d_c, d_rate_NE, d_memory_BNE


@_scan.register_fake
def _(taken_TBE, step_TBE, b_TBN, c_TBN, rate_NE, memory_BNE, kept_TB):
    n_chunks = -(-taken_TBE.shape[0] // CHUNK)
    starts_KBNE = memory_BNE.new_empty(n_chunks, *memory_BNE.shape)
    return torch.empty_like(taken_TBE), torch.empty_like(memory_BNE), starts_KBNE


@_scan_backward.register_fake
def _(d_y, d_end, starts_KBNE, taken_TBE, step_TBE, b_TBN, c_TBN, rate_NE, kept_TB):
    given = (taken_TBE, step_TBE, b_TBN, c_TBN, rate_NE, d_end)
    return tuple(torch.empty_like(tensor) for tensor in given)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    taken_TBE, step_TBE, b_TBN, c_TBN, rate_NE, _, kept_TB = inputs
    ctx.save_for_backward(output[2], taken_TBE, step_TBE, b_TBN, c_TBN, rate_NE, kept_TB)


def _gradients(ctx: Any, d_y_TBE: Tensor, d_end_BNE: Tensor, _d_starts: Tensor) -> tuple[Tensor | None, ...]:
    return (*_scan_backward(d_y_TBE.contiguous(), d_end_BNE.contiguous(), *ctx.saved_tensors), None)


_scan.register_autograd(_gradients, setup_context=_keep)


class SelectiveScan(nn.Module):
    """The scan as a module without parameters, by the fastest way there is; any dtype in, fp32 out."""

    def forward(
        self,
        x_BTE: Tensor,
        step_BTE: Tensor,
        rate_NE: Tensor,
        b_BTN: Tensor,
        c_BTN: Tensor,
        memory_BNE: Tensor | None = None,
        fresh_BT: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        x_BTE, step_BTE, rate_NE = x_BTE.float(), step_BTE.float(), rate_NE.float()
        b_BTN, c_BTN = b_BTN.float(), c_BTN.float()
        start = self.start(x_BTE, rate_NE, memory_BNE)
        if x_BTE.is_cuda and memory_BNE is None and fresh_BT is None and kernel_is_there():
            return kernel_scan(x_BTE, step_BTE, rate_NE, b_BTN, c_BTN)
        return chunked_scan(x_BTE, step_BTE, rate_NE, b_BTN, c_BTN, start, fresh_BT)

    def reference(
        self,
        x_BTE: Tensor,
        step_BTE: Tensor,
        rate_NE: Tensor,
        b_BTN: Tensor,
        c_BTN: Tensor,
        memory_BNE: Tensor | None = None,
        fresh_BT: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The same by `reference_scan`."""
        x_BTE, step_BTE, rate_NE = x_BTE.float(), step_BTE.float(), rate_NE.float()
        b_BTN, c_BTN = b_BTN.float(), c_BTN.float()
        start = self.start(x_BTE, rate_NE, memory_BNE)
        return reference_scan(x_BTE, step_BTE, rate_NE, b_BTN, c_BTN, start, fresh_BT)

    @staticmethod
    def start(x_BTE: Tensor, rate_NE: Tensor, memory_BNE: Tensor | None) -> Tensor:
        """What was remembered, or a memory of nothing."""
        if memory_BNE is not None:
            return memory_BNE.float()
        return torch.zeros(x_BTE.shape[0], *rate_NE.shape, device=x_BTE.device)


@functools.cache
def kernel_is_there() -> bool:
    """Whether the library `mamba_ssm` is installed."""
    return importlib.util.find_spec("mamba_ssm") is not None


def kernel_scan(
    x_BTE: Tensor, step_BTE: Tensor, rate_NE: Tensor, b_BTN: Tensor, c_BTN: Tensor
) -> tuple[Tensor, Tensor]:
    """The scan of one document a row from its beginning, by the CUDA kernel of `mamba_ssm`."""
    from mamba_ssm.ops.selective_scan_interface import (  # pyright: ignore[reportMissingImports]
        selective_scan_fn,
    )

    channels_first = [tensor.transpose(1, 2).contiguous() for tensor in (x_BTE, step_BTE, b_BTN, c_BTN)]
    x_BET, step_BET, b_BNT, c_BNT = channels_first
    y_BET, end_BEN = selective_scan_fn(x_BET, step_BET, rate_NE.T.contiguous(), b_BNT, c_BNT, return_last_state=True)
    return y_BET.transpose(1, 2), end_BEN.transpose(1, 2)
