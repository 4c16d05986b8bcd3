"""The attention layer of the Llama family and its many relatives, with what differs between them as choices.

Query heads share key-value heads in groups (Ainslie et al. 2023, "GQA", section 2.2); queries and keys are turned by
their position (layers/position.py). Relatives differ in biases, in norms on queries and keys (QK-norm: Henry et al.
2020; Dehghani et al. 2023, section 2), in how far back a token sees, and in how scores are scaled and capped.

Shapes: B batch, T tokens, H heads, G key-value heads, K d_head, D d_model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from groundup.models.layers.attention import Attend
from groundup.models.layers.linear import Linear
from groundup.models.layers.position import rotate

if TYPE_CHECKING:
    from groundup.models.base import AttentionConfig, Reading


class GroupedQueryAttention(nn.Module):
    """Grouped-query attention with rotary positions; keeps shape [B, T, D] and dtype."""

    def __init__(
        self,
        config: AttentionConfig,
        layer: int,
        *,
        bias: bool = False,
        key_bias: bool = True,
        output_bias: bool = False,
        norm: Callable[[int], nn.Module] | None = None,
        norm_together: bool = False,
        rotary: int | None = 0,
        window: int | None = None,
        scale: float | None = None,
        softcap: float | None = None,
        dropout: float = 0.0,
        sinks: bool = False,
        fused: bool = False,
    ) -> None:
        """`bias` is that of queries, keys and values, of keys only with `key_bias` too. `norm(width)` makes the norms of
        queries and keys: one a head, or, `norm_together`, over all heads at once. `rotary` says which of the model's
        rotaries turns this layer (None: no positions at all), `window` how many tokens a token sees, itself among them
        (None: all before it), `sinks` whether each head learns how much to look at nothing. `fused` keeps the matrices of
        queries, keys and values as one, in that order.
        """
        super().__init__()
        self.layer, self.d_head = layer, config.d_head
        self.rotary, self.window, self.dropout = rotary, window, dropout
        d_queries, d_keys = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
        self.widths = (d_queries, d_keys, d_keys) if fused else None
        if fused:
            self.query_key_value = Linear(config.d_model, d_queries + 2 * d_keys, bias)
        else:
            self.query = Linear(config.d_model, d_queries, bias)
            self.key = Linear(config.d_model, d_keys, bias and key_bias)
            self.value = Linear(config.d_model, d_keys, bias)
        self.output = Linear(d_queries, config.d_model, output_bias)
        self.norm_together = norm_together
        self.query_norm = self.key_norm = None
        if norm is not None:
            self.query_norm = norm(d_queries if norm_together else config.d_head)
            self.key_norm = norm(d_keys if norm_together else config.d_head)
        self.attend = Attend(scale=scale, softcap=softcap, n_sinks=config.n_heads if sinks else 0)

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        if self.widths:
            query_BTN, key_BTN, value_BTN = self.query_key_value(x_BTD).split(self.widths, dim=-1)
        else:
            query_BTN, key_BTN, value_BTN = self.query(x_BTD), self.key(x_BTD), self.value(x_BTD)
        q_BHTK = self._heads(query_BTN, self.query_norm, reading)
        k_BGTK = self._heads(key_BTN, self.key_norm, reading)
        v_BGTK = value_BTN.unflatten(-1, (-1, self.d_head)).transpose(1, 2)
        k_BGTK, v_BGTK = reading.keys_and_values(self.layer, k_BGTK, v_BGTK)
        dropout = self.dropout if self.training else 0.0
        out_BHTK = self.attend(q_BHTK, k_BGTK, v_BGTK, reading.mask_within(self.window), dropout)
        return self.output(out_BHTK.transpose(1, 2).flatten(2))

    def _heads(self, x_BTN: Tensor, norm: nn.Module | None, reading: Reading) -> Tensor:
        """Queries or keys by head [B, H, T, K], normalised and turned."""
        if norm is not None and self.norm_together:
            x_BTN = norm(x_BTN)
        x_BTHK = x_BTN.unflatten(-1, (-1, self.d_head))
        if norm is not None and not self.norm_together:
            x_BTHK = norm(x_BTHK)
        if self.rotary is not None:
            x_BTHK = rotate(x_BTHK, reading.angles[self.rotary])
        return x_BTHK.transpose(1, 2)
