"""A table with one row a token id (or a position): the rows are learned, looking one up is all there is to it.

The lookup's result is where a model's precision is decided: it is cast to the model's compute dtype, and every later
layer follows its input.
"""

from __future__ import annotations

from torch import Tensor, nn


class Embedding(nn.Embedding):
    """Rows of `weight` [n_rows, d_model] by id; made uninitialised, the model fills it."""

    def reset_parameters(self) -> None:
        """Do nothing: `LanguageModel.initialize` or a checkpoint decides every value."""


def scaled(embedded: Tensor, factor: float) -> Tensor:
    """The rows times `factor`, rounded to their dtype first: so the Gemma family was trained, 55.5 for 55.4256 in bf16."""
    return embedded * embedded.new_full((), factor)
