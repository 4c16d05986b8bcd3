"""The scan of Mamba 2: one rate a head, so that a chunk of steps becomes matrix products.

`H' = exp(step rate) H + step b x^T`, `y = H^T c`: a head keeps a matrix of N x P numbers which decays as a whole. Within a
chunk the same can be written like attention, queries c and keys b, with weights that fade with the distance; between
chunks the matrices are passed on. Source: Dao and Gu 2024, "Transformers are SSMs", section 6 and listing 1.

Three ways behind one meaning, tested equal: `reference_ssd` one token after another; `chunked_ssd` for any device;
the kernel of the library `mamba_ssm`, on a GPU where it is installed. Decays and memories are fp32 (differences of sums of
logarithms, never above 0, so nothing overflows); products are in the dtype of x, as in the library.

Shapes: B batch, T tokens, H heads, P numbers a head, G groups (R heads of one read and write alike), N d_state; K chunks of
C tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.models.layers.scan import kernel_is_there

CHUNK = 64  # about where the products within a chunk cost as much as those with the memory


def reference_ssd(
    x_BTHP: Tensor,
    step_BTH: Tensor,
    rate_H: Tensor,
    b_BTGN: Tensor,
    c_BTGN: Tensor,
    memory_BHNP: Tensor,
    fresh_BT: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What is read [B, T, H, P] and what is remembered in the end [B, H, N, P], one token after another, in fp32.

    Where `fresh_BT` is true a new document begins, and nothing from before is remembered.
    """
    share = x_BTHP.shape[2] // b_BTGN.shape[2]
    b_BTHN, c_BTHN = (part.float().repeat_interleave(share, dim=2) for part in (b_BTGN, c_BTGN))
    outputs = []
    for t in range(x_BTHP.shape[1]):
        decay_BH = torch.exp(step_BTH[:, t] * rate_H)
        if fresh_BT is not None:
            decay_BH = decay_BH * ~fresh_BT[:, t, None]
        taken_BHP = step_BTH[:, t, :, None] * x_BTHP[:, t].float()
        memory_BHNP = decay_BH[..., None, None] * memory_BHNP + b_BTHN[:, t, :, :, None] * taken_BHP[:, :, None]
        outputs.append((c_BTHN[:, t, :, :, None] * memory_BHNP).sum(2))
    return torch.stack(outputs, dim=1), memory_BHNP


def chunked_ssd(
    x_BTHP: Tensor,
    step_BTH: Tensor,
    rate_H: Tensor,
    b_BTGN: Tensor,
    c_BTGN: Tensor,
    memory_BHNP: Tensor,
    fresh_BT: Tensor | None = None,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor]:
    """The same as `reference_ssd`, by products over chunks of tokens; what is read comes in fp32 too."""
    n_tokens, n_groups, dtype = x_BTHP.shape[1], b_BTGN.shape[2], x_BTHP.dtype
    chunk = min(chunk, n_tokens)
    filling = -n_tokens % chunk  # steps of no length, which change nothing

    def in_chunks(tensor: Tensor) -> Tensor:
        padded = F.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, filling)) if filling else tensor
        return padded.unflatten(1, (-1, chunk))

    # How much is left of each head's memory, as the logarithm of what is kept since the chunk began.
    log_BKGRC = in_chunks(step_BTH * rate_H).unflatten(3, (n_groups, -1)).movedim(2, -1).cumsum(-1)
    since_BKGRCC = log_BKGRC[..., :, None] - log_BKGRC[..., None, :]
    seen = torch.ones(chunk, chunk, dtype=torch.bool, device=x_BTHP.device).tril()
    from_start_BKGRC, to_end_BKGRC = log_BKGRC.exp(), (log_BKGRC[..., -1:] - log_BKGRC).exp()
    if fresh_BT is not None:
        # Documents that have begun in the chunk: tokens of one number are of one document, those of 0 of the one before.
        begun_BKC = in_chunks(fresh_BT.long()).cumsum(-1)
        seen = seen & (begun_BKC[..., :, None] == begun_BKC[..., None, :])[:, :, None, None]
        from_start_BKGRC = from_start_BKGRC * (begun_BKC == 0)[:, :, None, None]
        to_end_BKGRC = to_end_BKGRC * (begun_BKC == begun_BKC[..., -1:])[:, :, None, None]
    kept_BKGRCC = since_BKGRCC.masked_fill(~seen, -torch.inf).exp()

    taken = in_chunks((step_BTH[..., None] * x_BTHP.float()).to(dtype)).unflatten(3, (n_groups, -1))
    taken_BKGRCP = taken.movedim(2, 4)
    b_BKGCN, c_BKGCN = (in_chunks(part.to(dtype)).movedim(2, 3) for part in (b_BTGN, c_BTGN))

    # Within a chunk: weights like attention's.
    scores_BKGCC = c_BKGCN @ b_BKGCN.mT
    weights_BKGRCC = (scores_BKGCC[:, :, :, None] * kept_BKGRCC).to(dtype)
    inside_BKGRCP = weights_BKGRCC @ taken_BKGRCP

    # Between chunks: what each adds, then what each begins with. Heads of a group lie beside each other, as columns.
    fading_BKGCRP = (taken_BKGRCP * to_end_BKGRC[..., None]).to(dtype).movedim(4, 3)
    added_BKGNX = (b_BKGCN.mT @ fading_BKGCRP.flatten(4)).float()
    left_BKGX = from_start_BKGRC[..., -1].repeat_interleave(x_BTHP.shape[3], dim=-1)
    memory_BGNX = memory_BHNP.unflatten(1, (n_groups, -1)).movedim(2, 3).flatten(3)
    begins = []
    for added_BGNX, left_BGX in zip(added_BKGNX.unbind(1), left_BKGX.unbind(1), strict=True):
        begins.append(memory_BGNX)
        memory_BGNX = left_BGX[:, :, None] * memory_BGNX + added_BGNX
    before_BKGCX = (c_BKGCN @ torch.stack(begins, dim=1).to(dtype)).float()
    before_BKGCRP = before_BKGCX.unflatten(-1, (-1, x_BTHP.shape[3])) * from_start_BKGRC.mT[..., None]

    y_BKCGRP = inside_BKGRCP.movedim(4, 2).float() + before_BKGCRP.movedim(3, 2)
    y_BTHP = y_BKCGRP.flatten(3, 4).flatten(1, 2)[:, :n_tokens]
    end_BHNP = memory_BGNX.unflatten(-1, (-1, x_BTHP.shape[3])).movedim(3, 2).flatten(1, 2)
    return y_BTHP, end_BHNP


class StateSpaceDual(nn.Module):
    """The scan as a module without parameters, by the fastest way there is; any dtype in, fp32 out."""

    def forward(
        self,
        x_BTHP: Tensor,
        step_BTH: Tensor,
        rate_H: Tensor,
        b_BTGN: Tensor,
        c_BTGN: Tensor,
        memory_BHNP: Tensor | None = None,
        fresh_BT: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        memory = _start(x_BTHP, b_BTGN, memory_BHNP)
        if x_BTHP.shape[1] == 1:
            return reference_ssd(x_BTHP, step_BTH, rate_H, b_BTGN, c_BTGN, memory, fresh_BT)
        way = kernel_ssd if x_BTHP.is_cuda and kernel_is_there() else chunked_ssd
        return way(x_BTHP, step_BTH, rate_H, b_BTGN, c_BTGN, memory, fresh_BT)

    def reference(
        self,
        x_BTHP: Tensor,
        step_BTH: Tensor,
        rate_H: Tensor,
        b_BTGN: Tensor,
        c_BTGN: Tensor,
        memory_BHNP: Tensor | None = None,
        fresh_BT: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The same by `reference_ssd`."""
        memory = _start(x_BTHP, b_BTGN, memory_BHNP)
        return reference_ssd(x_BTHP, step_BTH, rate_H, b_BTGN, c_BTGN, memory, fresh_BT)


def _start(x_BTHP: Tensor, b_BTGN: Tensor, memory_BHNP: Tensor | None) -> Tensor:
    """What was remembered, or a memory of nothing."""
    if memory_BHNP is not None:
        return memory_BHNP.float()
    batch, _, n_heads, d_head = x_BTHP.shape
    return torch.zeros(batch, n_heads, b_BTGN.shape[3], d_head, device=x_BTHP.device)


def kernel_ssd(
    x_BTHP: Tensor,
    step_BTH: Tensor,
    rate_H: Tensor,
    b_BTGN: Tensor,
    c_BTGN: Tensor,
    memory_BHNP: Tensor,
    fresh_BT: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The scan by the Triton kernels of `mamba_ssm`, for a GPU."""
    from mamba_ssm.ops.triton.ssd_combined import (  # pyright: ignore[reportMissingImports]
        mamba_chunk_scan_combined,
    )

    numbers_BT = None if fresh_BT is None else fresh_BT.cumsum(1, dtype=torch.int32)
    y_BTHP, end_BHPN = mamba_chunk_scan_combined(
        x_BTHP.contiguous(),
        step_BTH,
        rate_H,
        b_BTGN.contiguous(),
        c_BTGN.contiguous(),
        CHUNK,
        initial_states=None if fresh_BT is not None else memory_BHNP.mT.contiguous(),
        seq_idx=numbers_BT,
        return_final_states=True,
    )
    return y_BTHP.float(), end_BHPN.float().mT
