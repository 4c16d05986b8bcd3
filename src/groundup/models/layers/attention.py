"""Attention: every token gathers what it needs from the tokens before it.

The plain form, `reference_attention`, follows Vaswani et al. 2017, section 3.2.1, and shows its weights. `attention` is
the fast path behind the same meaning. Several query heads may share one key-value head (grouped-query attention,
Ainslie et al. 2023, section 2.2): query head h reads key-value head h // (H / G).

Which kernel is fastest depends on where it runs (measured, two cores with AVX-512 bf16, torch 2.13):
- CUDA: `scaled_dot_product_attention`, which picks flash attention.
- CPU, compiled: two causal blocks of plain products, 1.3 to 2 times the speed of the library's kernel.
- CPU, eager: the library's kernel; in fp32 when a gradient is wanted, since its bf16 backward is 3 times slower at
  short contexts.

Shapes: B batch, T queries, S keys, H query heads, G key-value heads, K numbers a head (d_head).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Beyond this many tokens the plain blocks would hold too large a table of scores; the library's kernel holds none.
LONGEST_PLAIN_CONTEXT = 1024


def reference_attention(
    q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attention with its weights: (output [B, H, T, K], weights [B, H, T, S] that sum to 1 over S).

    `mask` is boolean, True where a query may look, broadcast to [B, H, T, S]; None means causal, the last query
    seeing all keys.
    """
    n_queries, n_keys = q_BHTK.shape[2], k_BGSK.shape[2]
    share = q_BHTK.shape[1] // k_BGSK.shape[1]
    k_BHSK, v_BHSK = k_BGSK.repeat_interleave(share, dim=1), v_BGSK.repeat_interleave(share, dim=1)
    causal = torch.ones(n_queries, n_keys, dtype=torch.bool, device=q_BHTK.device).tril(n_keys - n_queries)
    scores = q_BHTK @ k_BHSK.transpose(-2, -1) / math.sqrt(q_BHTK.shape[-1])
    weights = scores.masked_fill(~(causal if mask is None else mask), -torch.inf).softmax(dim=-1)
    return weights @ v_BHSK, weights


def attention(
    q_BHTK: Tensor,
    k_BGSK: Tensor,
    v_BGSK: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = True,
    dropout: float = 0.0,
) -> Tensor:
    """The output [B, H, T, K] of `reference_attention`, by the fastest way for this device, in the dtype of q.

    `mask` is boolean [B, 1, T, S], True where a query may look; with a mask `causal` is not consulted. Without one,
    `causal=True` needs S == T and `causal=False` lets every query see every key. `dropout` is the probability with
    which a weight is dropped; the caller passes 0 outside training.
    """
    causal = causal and mask is None
    assert not causal or q_BHTK.shape[2] == k_BGSK.shape[2], "causal attention over a cache needs a mask"
    if q_BHTK.shape[2] == 1 and mask is None:
        causal = False
    if q_BHTK.device.type == "cpu" and torch.compiler.is_compiling() and k_BGSK.shape[2] <= LONGEST_PLAIN_CONTEXT:
        return _plain_blocks(q_BHTK, k_BGSK, v_BGSK, mask, causal, dropout)
    return _library_kernel(q_BHTK, k_BGSK, v_BGSK, mask, causal, dropout)


def _library_kernel(
    q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask: Tensor | None, causal: bool, dropout: float
) -> Tensor:
    """torch's scaled_dot_product_attention."""
    dtype, (batch, n_heads, n_queries, d_head) = q_BHTK.dtype, q_BHTK.shape
    share = n_heads // k_BGSK.shape[1]
    if q_BHTK.device.type == "cpu" and q_BHTK.requires_grad:
        q_BHTK, k_BGSK, v_BGSK = q_BHTK.float(), k_BGSK.float(), v_BGSK.float()
    if share > 1 and n_queries == 1:
        # One new token: the heads that share keys become queries of one head, so the cache is read in place.
        q_BGRK = q_BHTK.reshape(batch, n_heads // share, share, d_head)
        out = F.scaled_dot_product_attention(q_BGRK, k_BGSK, v_BGSK, attn_mask=mask, dropout_p=dropout)
        return out.reshape(batch, n_heads, 1, d_head).to(dtype)
    if share > 1:
        k_BGSK, v_BGSK = k_BGSK.repeat_interleave(share, dim=1), v_BGSK.repeat_interleave(share, dim=1)
    out = F.scaled_dot_product_attention(q_BHTK, k_BGSK, v_BGSK, attn_mask=mask, dropout_p=dropout, is_causal=causal)
    return out.to(dtype)


def _plain_blocks(
    q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask: Tensor | None, causal: bool, dropout: float
) -> Tensor:
    """Plain products for the compiler to fuse; causal queries go in two halves, the first skipping half the keys."""
    batch, n_heads, n_queries, d_head = q_BHTK.shape
    n_groups, n_keys = k_BGSK.shape[1:3]
    q_BGRTK = q_BHTK.reshape(batch, n_groups, n_heads // n_groups, n_queries, d_head) * d_head**-0.5

    def block(start: int, stop: int, n_seen: int) -> Tensor:
        # Heads that share keys are stacked as more queries of one head, so the keys are never copied.
        queries = q_BGRTK[:, :, :, start:stop].flatten(2, 3)
        scores = (queries @ k_BGSK[:, :, :n_seen].transpose(-2, -1)).unflatten(2, (-1, stop - start)).float()
        if mask is not None:
            scores = scores.masked_fill(~mask[:, :, None, start:stop, :n_seen], -torch.inf)
        elif causal:
            scores = scores + _causal_table(n_keys)[start:stop, :n_seen]
        weights = F.dropout(scores.softmax(dim=-1).to(v_BGSK.dtype), dropout, training=dropout > 0)
        return (weights.flatten(2, 3) @ v_BGSK[:, :, :n_seen]).unflatten(2, (-1, stop - start))

    if causal and n_queries >= 2:
        half = n_queries // 2
        out = torch.cat((block(0, half, half), block(half, n_queries, n_keys)), dim=3)
    else:
        out = block(0, n_queries, n_keys)
    return out.reshape(batch, n_heads, n_queries, d_head)


@torch.compiler.assume_constant_result
def _causal_table(n: int) -> Tensor:
    """What is added to causal scores [n, n]: 0 where a query may look, minus infinity elsewhere.

    A constant of the compiled graph: comparing positions anew in every kernel made attention 1.4 times slower.
    """
    return torch.full((n, n), -torch.inf).triu(1)


class Attend(nn.Module):
    """`attention` as a module without parameters: the place where a hook can look at queries, keys and weights."""

    def forward(
        self, q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask: Tensor | None = None, dropout: float = 0.0
    ) -> Tensor:
        return attention(q_BHTK, k_BGSK, v_BGSK, mask=mask, causal=q_BHTK.shape[2] > 1, dropout=dropout)
