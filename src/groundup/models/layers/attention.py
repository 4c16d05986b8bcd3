"""Attention: every token gathers what it needs from the tokens before it.

The plain form, `reference_attention`, follows Vaswani et al. 2017, section 3.2.1, and shows its weights. `attention` is
the fast path behind the same meaning. Several query heads may share one key-value head (grouped-query attention,
Ainslie et al. 2023, section 2.2): query head h reads key-value head h // (H / G).

Which kernel is fastest depends on where it runs (measured, two cores with AVX-512 bf16, torch 2.13):
- CUDA: `scaled_dot_product_attention`, which picks flash attention.
- CPU, compiled: two causal blocks of plain products, 1.3 to 2 times the speed of the library's kernel. Not with
  dropout, whose weights could not be made a second time.
- CPU, eager: the library's kernel; in fp32 when a gradient is wanted, since its bf16 backward is 3 times slower at
  short contexts, and for a single query, where its bf16 forward is 2 to 4 times slower than widening the cache for it.

Shapes: B batch, T queries, S keys, H query heads, G key-value heads, K numbers a head (d_head).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.models.layers.capped_attention import CappedBlocks
from groundup.models.layers.softcap import slope, soft_capped

# Beyond this many tokens even one layer's table of scores is too large for the plain blocks; the kernel holds none.
LONGEST_PLAIN_CONTEXT = 1024
BLOCK = 128  # queries of a block where it is not the compiler that fuses the blocks


def reference_attention(
    q_BHTK: Tensor,
    k_BGSK: Tensor,
    v_BGSK: Tensor,
    mask: Tensor | None = None,
    *,
    scale: float | None = None,
    softcap: float | None = None,
    sinks_H: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention with its weights: (output [B, H, T, K], weights [B, H, T, S] that sum to 1 over S).

    `mask`, broadcast to [B, H, T, S], is boolean, True where a query may look, or added to the scores, minus infinity
    where it may not (alibi.py); None means causal, the last query seeing all keys. Scores are multiplied by `scale`
    (None: 1/sqrt(K)) and bent to stay under a `softcap` (softcap.py). `sinks_H` are learned scores, one a head, of a place
    that holds nothing: what it takes is missing from the weights, which then sum to less than 1 (the gpt-oss model card,
    OpenAI 2025, on its attention).
    """
    n_queries, n_keys = q_BHTK.shape[2], k_BGSK.shape[2]
    share = q_BHTK.shape[1] // k_BGSK.shape[1]
    k_BHSK, v_BHSK = k_BGSK.repeat_interleave(share, dim=1), v_BGSK.repeat_interleave(share, dim=1)
    causal = torch.ones(n_queries, n_keys, dtype=torch.bool, device=q_BHTK.device).tril(n_keys - n_queries)
    scores = q_BHTK @ k_BHSK.transpose(-2, -1) * (q_BHTK.shape[-1] ** -0.5 if scale is None else scale)
    if softcap is not None:
        scores = soft_capped(scores, softcap)
    mask = causal if mask is None else mask
    scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask.to(scores.dtype)
    if sinks_H is not None:
        scores = torch.cat((scores, sinks_H.to(scores.dtype)[:, None, None].expand(*scores.shape[:-1], 1)), dim=-1)
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(v_BHSK.dtype)[..., :n_keys]
    return weights @ v_BHSK, weights


def attention(
    q_BHTK: Tensor,
    k_BGSK: Tensor,
    v_BGSK: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = True,
    dropout: float = 0.0,
    scale: float | None = None,
    softcap: float | None = None,
    sinks_H: Tensor | None = None,
) -> Tensor:
    """The output [B, H, T, K] of `reference_attention`, by the fastest way for this device, in the dtype of q.

    `mask` is boolean [B, 1, T, S], True where a query may look, or added to the scores [B, H, T, S]; with a mask
    `causal` is not consulted. Without one, `causal=True` needs S == T and `causal=False` lets every query see every key.
    `dropout` is the probability with which a weight is dropped; the caller passes 0 outside training. A `softcap` takes the
    blocks and `sinks_H` the plain path: no kernel has them.
    """
    causal = causal and mask is None
    assert not causal or q_BHTK.shape[2] == k_BGSK.shape[2], "causal attention over a cache needs a mask"
    if q_BHTK.shape[2] == 1 and mask is None:
        causal = False
    if sinks_H is not None:
        if mask is None and not causal:
            mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=q_BHTK.device)
        assert not dropout, "attention with learned sinks has no dropout"
        return reference_attention(q_BHTK, k_BGSK, v_BGSK, mask, scale=scale, softcap=softcap, sinks_H=sinks_H)[0]
    if scale is not None:
        q_BHTK = q_BHTK * (scale * math.sqrt(q_BHTK.shape[-1]))  # every path below divides by that root
    if softcap is not None:
        assert not dropout, "soft-capped attention has no dropout"
        return _plain_blocks(q_BHTK, k_BGSK, v_BGSK, mask, causal, softcap)
    compiles_for_cpu = q_BHTK.device.type == "cpu" and torch.compiler.is_compiling()
    if compiles_for_cpu and k_BGSK.shape[2] <= LONGEST_PLAIN_CONTEXT and not dropout:
        return _plain_blocks(q_BHTK, k_BGSK, v_BGSK, mask, causal)
    return _library_kernel(q_BHTK, k_BGSK, v_BGSK, mask, causal, dropout)


def _library_kernel(
    q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask: Tensor | None, causal: bool, dropout: float = 0.0
) -> Tensor:
    """torch's scaled_dot_product_attention."""
    dtype, (batch, n_heads, n_queries, d_head) = q_BHTK.dtype, q_BHTK.shape
    share = n_heads // k_BGSK.shape[1]
    if q_BHTK.device.type == "cpu" and (q_BHTK.requires_grad or n_queries == 1):
        q_BHTK, k_BGSK, v_BGSK = q_BHTK.float(), k_BGSK.float(), v_BGSK.float()
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(q_BHTK.dtype)
    if share > 1 and n_queries == 1:
        # One new token: the heads that share keys become queries of one head, so the cache is read in place.
        q_BGRK = q_BHTK.reshape(batch, n_heads // share, share, d_head)
        if mask is not None and mask.shape[1] > 1:
            mask = mask.reshape(mask.shape[0], n_heads // share, share, -1)
        out = F.scaled_dot_product_attention(q_BGRK, k_BGSK, v_BGSK, attn_mask=mask, dropout_p=dropout)
        return out.reshape(batch, n_heads, 1, d_head).to(dtype)
    if share > 1:
        k_BGSK, v_BGSK = k_BGSK.repeat_interleave(share, dim=1), v_BGSK.repeat_interleave(share, dim=1)
    out = F.scaled_dot_product_attention(q_BHTK, k_BGSK, v_BGSK, attn_mask=mask, dropout_p=dropout, is_causal=causal)
    return out.to(dtype)


def _plain_blocks(
    q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask: Tensor | None, causal: bool, softcap: float | None = None
) -> Tensor:
    """Plain products for the compiler to fuse; causal queries go in blocks that skip the keys after their last."""
    n_queries, n_keys = q_BHTK.shape[2], k_BGSK.shape[2]
    # Two halves are the compiler's best; eager, where soft caps alone come here, and for long contexts more of them are.
    short = n_keys <= LONGEST_PLAIN_CONTEXT
    step = -(-n_queries // (2 if causal else 1)) if short and torch.compiler.is_compiling() else BLOCK
    edges = [(start, min(start + step, n_queries)) for start in range(0, n_queries, step)]
    blocks = [(start, stop, stop if causal else n_keys) for start, stop in edges]
    seen = None
    if mask is not None:
        mask = mask.unflatten(1, (k_BGSK.shape[1], -1)) if mask.shape[1] > 1 else mask[:, :, None]
        seen = torch.where(mask, 0.0, -torch.inf) if mask.dtype == torch.bool else mask
    elif causal:
        table = _causal_table(n_keys)
        seen = (table if q_BHTK.is_cpu else table.to(q_BHTK.device))[None, None, None]
    q_BGRTK = q_BHTK.unflatten(1, (k_BGSK.shape[1], -1))
    if softcap is not None and short and not torch.compiler.is_compiling():
        return CappedBlocks.apply(q_BGRTK, k_BGSK, v_BGSK, seen, blocks, softcap).flatten(1, 2)
    return _PlainBlocks.apply(q_BGRTK, k_BGSK, v_BGSK, seen, blocks, softcap).flatten(1, 2)


class _PlainBlocks(torch.autograd.Function):
    """Attention that keeps no table of weights: the backward pass makes it anew from the log of each softmax's sum.

    That is FlashAttention's way (Dao et al. 2022, section 3.1 and appendix B.2), whose tiles are here the blocks
    (first query, last query, number of keys). Left to itself the compiler keeps the tables, and transposed copies
    besides: 114 of 464 MB at 6 x 384 with 16 x 256 tokens. The backward pass makes the *transposed* tables, so the
    compiler cannot find that it had them and keep them after all.

    `seen`, broadcast to B G R T S, is added to the scores: 0 where a query may look, minus infinity elsewhere. R query
    heads share each of the G key-value heads; stacked as more queries of one head (N = R T), the keys are never copied.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q_BGRTK: Tensor,
        k_BGSK: Tensor,
        v_BGSK: Tensor,
        seen: Tensor | None,
        blocks: list[tuple[int, int, int]],
        softcap: float | None,
    ) -> Tensor:
        outs, log_sums = [], []
        for start, stop, n_seen in blocks:
            k_BGSK_, v_BGSK_ = k_BGSK[:, :, :n_seen], v_BGSK[:, :, :n_seen]
            q_BGNK, rows = q_BGRTK[:, :, :, start:stop].flatten(2, 3), (-1, stop - start)
            scores_BGRTS = (q_BGNK @ k_BGSK_.transpose(-2, -1)).unflatten(2, rows).float() * q_BGRTK.shape[-1] ** -0.5
            if softcap is not None:
                scores_BGRTS = soft_capped(scores_BGRTS, softcap)
            if seen is not None:
                scores_BGRTS = scores_BGRTS + seen[..., start:stop, :n_seen]
            log_sum_BGRT = scores_BGRTS.logsumexp(-1)
            weights_BGRTS = (scores_BGRTS - log_sum_BGRT[..., None]).exp().to(v_BGSK.dtype)
            outs.append((weights_BGRTS.flatten(2, 3) @ v_BGSK_).unflatten(2, rows))
            log_sums.append(log_sum_BGRT)
        out_BGRTK = torch.cat(outs, dim=3)
        ctx.save_for_backward(q_BGRTK, k_BGSK, v_BGSK, seen, torch.cat(log_sums, dim=3), out_BGRTK)
        ctx.blocks, ctx.softcap = blocks, softcap
        return out_BGRTK

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        q_BGRTK, k_BGSK, v_BGSK, seen, log_sum_BGRT, out_BGRTK = ctx.saved_tensors
        d_out_BGRTK, scale = grad_outputs[0], q_BGRTK.shape[-1] ** -0.5
        mean_BGRT = (d_out_BGRTK.float() * out_BGRTK.float()).sum(-1)  # of the weights' gradients, by their weights
        d_q, d_k, d_v = [], None, None
        for start, stop, n_seen in ctx.blocks:
            k_BGSK_, v_BGSK_ = k_BGSK[:, :, :n_seen], v_BGSK[:, :, :n_seen]
            q_BGNK, d_out_BGNK = (x[:, :, :, start:stop].flatten(2, 3) for x in (q_BGRTK, d_out_BGRTK))
            rows = (-1, stop - start)
            scores_BGSRT = (k_BGSK_ @ q_BGNK.transpose(-2, -1)).unflatten(-1, rows).float() * scale
            bend_BGSRT = None
            if ctx.softcap is not None:
                scores_BGSRT = soft_capped(scores_BGSRT, ctx.softcap)
                bend_BGSRT = slope(scores_BGSRT, ctx.softcap)
            if seen is not None:
                scores_BGSRT = scores_BGSRT + seen[..., start:stop, :n_seen].movedim(-1, 2)
            weights_BGSRT = (scores_BGSRT - log_sum_BGRT[:, :, None, :, start:stop]).exp()
            d_weights_BGSRT = (v_BGSK_ @ d_out_BGNK.transpose(-2, -1)).unflatten(-1, rows).float()
            d_scores_BGSRT = weights_BGSRT * (d_weights_BGSRT - mean_BGRT[:, :, None, :, start:stop]) * scale
            if bend_BGSRT is not None:
                d_scores_BGSRT = d_scores_BGSRT * bend_BGSRT
            d_scores_BGSN = d_scores_BGSRT.to(q_BGRTK.dtype).flatten(3, 4)
            d_q.append((d_scores_BGSN.transpose(-2, -1) @ k_BGSK_).unflatten(2, rows))
            d_k = _sum(d_k, d_scores_BGSN @ q_BGNK)
            d_v = _sum(d_v, weights_BGSRT.to(v_BGSK.dtype).flatten(3, 4) @ d_out_BGNK)
        return torch.cat(d_q, dim=3), d_k, d_v, None, None, None


def _sum(shorter: Tensor | None, longer: Tensor) -> Tensor:
    """The sum of [B, G, S, K] and of what is added to its first keys only."""
    if shorter is None:
        return longer
    n = shorter.shape[2]
    return torch.cat((longer[:, :, :n] + shorter, longer[:, :, n:]), dim=2)


@torch.compiler.assume_constant_result
def _causal_table(n: int) -> Tensor:
    """What is added to causal scores [n, n]: 0 where a query may look, minus infinity elsewhere.

    A constant of the compiled graph: comparing positions anew in every kernel made attention 1.4 times slower.
    """
    return torch.full((n, n), -torch.inf).triu(1)


class Attend(nn.Module):
    """`attention` as a module: the place where a hook can look at queries, keys and weights.

    It has no parameters, but for the learned `sinks` [H] of an architecture that has them.
    """

    sinks: nn.Parameter | None

    def __init__(self, *, scale: float | None = None, softcap: float | None = None, n_sinks: int = 0) -> None:
        super().__init__()
        self.scale, self.softcap = scale, softcap
        self.sinks = nn.Parameter(torch.zeros(n_sinks)) if n_sinks else None

    def forward(
        self, q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask: Tensor | None = None, dropout: float = 0.0
    ) -> Tensor:
        return attention(
            q_BHTK,
            k_BGSK,
            v_BGSK,
            mask=mask,
            causal=q_BHTK.shape[2] > 1,
            dropout=dropout,
            scale=self.scale,
            softcap=self.softcap,
            sinks_H=self.sinks,
        )

    def reference(
        self, q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same by `reference_attention`, with the weights [B, H, T, S] beside it."""
        settings = {"scale": self.scale, "softcap": self.softcap, "sinks_H": self.sinks}
        return reference_attention(q_BHTK, k_BGSK, v_BGSK, mask, **settings)
