"""Rows for a few tokens, trained with an adapter: what a new token needs, for no matrix can tell what it means.

The table stays frozen; the chosen rows live beside it (PEFT calls this `trainable_token_indices`). A tied head reads the
same rows. The whole table with its new rows is put together where it is asked for, so training them costs a copy of it
a step.

Shapes: V vocabulary, D width, K chosen tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.adapters.layers import Adapted
from groundup.core.errors import GroundupError
from groundup.models import LanguageModel
from groundup.models.layers.linear import linear


class TokenRows(nn.Module):
    """The rows [K, D] of some tokens in fp32, which begin as the table's own."""

    ids: Tensor

    def __init__(self, table_VD: Tensor, ids: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("ids", torch.tensor(ids, device=table_VD.device), persistent=False)
        self.rows = nn.Parameter(table_VD.detach()[list(ids)].float())


class _AdaptedTable(Adapted):
    """A frozen table whose rows of some tokens are an adapter's."""

    @property
    def weight(self) -> Tensor:
        """The table [V, D], in its own dtype, as the switch has it."""
        table_VD, active = self.base.weight, self.switch.active
        assert isinstance(table_VD, Tensor)
        if active is None or self.switch.rows is not None or active not in self.adapters:
            return table_VD
        own = self.adapters[active]
        assert isinstance(own, TokenRows)
        return table_VD.index_copy(0, own.ids, own.rows.to(table_VD.dtype))


class AdaptedEmbedding(_AdaptedTable):
    """A table looked up by token."""

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight)


class AdaptedHead(_AdaptedTable):
    """A head, which is a table read by all its rows at once."""

    @property
    def bias(self) -> Tensor | None:
        """The head's own."""
        bias = self.base.bias
        assert bias is None or isinstance(bias, Tensor)
        return bias

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def check_tokens(model: LanguageModel, ids: tuple[int, ...]) -> None:
    """Refuse ids the model has no rows for, and repeated ones."""
    if beyond := [each for each in ids if each >= model.config.vocab_size]:
        raise GroundupError(
            f"new_tokens: the model has ids 0 to {model.config.vocab_size - 1}, and {beyond[0]} is beyond; give the model "
            "rows for new tokens first (groundup tokenizer extend)"
        )
    if len(set(ids)) < len(ids):
        raise GroundupError(f"new_tokens: {next(each for each in ids if ids.count(each) > 1)} is there twice")
