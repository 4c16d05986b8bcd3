"""A short causal convolution: each channel mixes a token with the few before it.

Mamba has one before its scan (Gu and Dao 2023, section 3.4), as H3 had (Fu et al. 2023): what is written may depend on
the last words, not on one alone. It is a sum of K shifted products, in fp32, which needs no kernel of its own and lets each
token leave out what belongs to another document.

Shapes: B batch, T tokens, E channels, K width of the convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CausalConvolution(nn.Module):
    """Weight [E, 1, K] as torch's `Conv1d` with a group a channel keeps it, the newest token last."""

    def __init__(self, n_channels: int, width: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_channels, 1, width))
        self.bias = nn.Parameter(torch.empty(n_channels)) if bias else None

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Uniform within 1/sqrt(K), as torch's own (the published models' start); no bias."""
        bound = self.weight.shape[-1] ** -0.5
        self.weight.copy_(torch.empty(self.weight.shape).uniform_(-bound, bound, generator=generator))
        if self.bias is not None:
            self.bias.zero_()

    def forward(
        self, x_BTE: Tensor, window_BKE: Tensor | None = None, positions_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The convolution [B, T, E] in fp32, and the newest K - 1 inputs, to be given as `window_BKE` next time.

        With `positions_BT`, those within each document, nothing reaches over a border.
        """
        n_tokens, width = x_BTE.shape[1], self.weight.shape[-1]
        if window_BKE is None:
            window_BKE = x_BTE.new_zeros(x_BTE.shape[0], width - 1, x_BTE.shape[2])
        seen_BSE = torch.cat((window_BKE.to(x_BTE.dtype), x_BTE), dim=1)
        wide_BSE, weight_EK = seen_BSE.float(), self.weight[:, 0].float()
        out_BTE = weight_EK[:, -1] * wide_BSE[:, width - 1 :]
        if self.bias is not None:
            out_BTE = out_BTE + self.bias.float()
        for back in range(1, width):
            shifted_BTE = wide_BSE[:, width - 1 - back : width - 1 - back + n_tokens]
            if positions_BT is not None:
                shifted_BTE = shifted_BTE * (positions_BT >= back)[..., None]
            out_BTE = torch.addcmul(out_BTE, shifted_BTE, weight_EK[:, -1 - back])
        return out_BTE, seen_BSE[:, n_tokens:]
