"""Attention with soft-capped scores where nothing is compiled: as few trips through the tables of scores as can be.

No kernel of torch's has soft caps (its flex_attention, compiled, has them, but no backward pass on a CPU), and one by one
the steps from scores to weights and back take some thirty trips. Here both tables that the backward pass needs, tanh and
weights, are kept, and every step that can be is done in place: a third of the trips.

Shapes: as in attention.py; R query heads share each key-value head, stacked as N = R T queries of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class CappedBlocks(torch.autograd.Function):
    """Scores are bent by `softcap`, `seen` (broadcast to B G R T S, or None) is added to them; then softmax.

    `blocks` are (first query, query after the last, number of keys), over which `seen` says the rest.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q_BGRTK: Tensor,
        k_BGSK: Tensor,
        v_BGSK: Tensor,
        seen: Tensor | None,
        blocks: list[tuple[int, int, int]],
        softcap: float,
    ) -> Tensor:
        q_BGRTK = q_BGRTK * (q_BGRTK.shape[-1] ** -0.5 / softcap)
        outs, tables = [], []
        for start, stop, n_seen in blocks:
            rows = (-1, stop - start)
            q_BGNK = q_BGRTK[:, :, :, start:stop].flatten(2, 3)
            bent_BGNS = (q_BGNK @ k_BGSK[:, :, :n_seen].mT).float().tanh_()
            if seen is None:
                scores_BGNS = bent_BGNS * softcap
            else:
                bent_BGRTS = bent_BGNS.unflatten(2, rows)
                scores_BGNS = torch.add(seen[..., start:stop, :n_seen], bent_BGRTS, alpha=softcap).flatten(2, 3)
            weights_BGNS = scores_BGNS.softmax(-1).to(v_BGSK.dtype)
            outs.append((weights_BGNS @ v_BGSK[:, :, :n_seen]).unflatten(2, rows))
            if any(ctx.needs_input_grad):
                tables += [bent_BGNS, weights_BGNS]
        ctx.blocks, ctx.softcap = blocks, softcap
        out_BGRTK = torch.cat(outs, dim=3)
        ctx.save_for_backward(q_BGRTK, k_BGSK, v_BGSK, out_BGRTK, *tables)
        return out_BGRTK

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        q_BGRTK, k_BGSK, v_BGSK, out_BGRTK, *tables = ctx.saved_tensors
        d_out_BGRTK = grad_outputs[0]
        mean_BGRT = (d_out_BGRTK.float() * out_BGRTK.float()).sum(-1)  # of the weights' gradients, by their weights
        d_q, d_k, d_v = [], torch.zeros_like(k_BGSK), torch.zeros_like(v_BGSK)
        for (start, stop, n_seen), bent_BGNS, weights_BGNS in zip(ctx.blocks, tables[::2], tables[1::2], strict=True):
            q_BGNK, d_out_BGNK = (x[:, :, :, start:stop].flatten(2, 3) for x in (q_BGRTK, d_out_BGRTK))
            d_BGNS = (d_out_BGNK @ v_BGSK[:, :, :n_seen].mT).float()  # by the weights, then by scores, then by products
            d_BGNS.sub_(mean_BGRT[..., start:stop].flatten(2, 3)[..., None]).mul_(weights_BGNS)
            d_BGNS.addcmul_(d_BGNS * bent_BGNS, bent_BGNS, value=-1)
            d_BGNS = d_BGNS.to(q_BGRTK.dtype)
            d_q.append((d_BGNS @ k_BGSK[:, :, :n_seen]).unflatten(2, (-1, stop - start)))
            d_k[:, :, :n_seen] += d_BGNS.mT @ q_BGNK
            d_v[:, :, :n_seen] += weights_BGNS.mT @ d_out_BGNK
        d_q_BGRTK = torch.cat(d_q, dim=3).mul_(q_BGRTK.shape[-1] ** -0.5)
        return d_q_BGRTK, d_k.mul_(ctx.softcap), d_v, None, None, None
