"""LSTM: the recurrent network that remembers, and the best language model there was before attention.

Each layer keeps a cell that gates write into, erase and read; what is kept passes from step to step without being
multiplied by a matrix, so gradients last. Sources: Hochreiter and Schmidhuber 1997; Gers et al. 2000 (forget gate);
Jozefowicz et al. 2016, "Exploring the Limits of Language Modeling".
"""

from __future__ import annotations

from typing import Any, Literal

from groundup.models.recurrent_network import (
    RecurrentConfig,
    RecurrentModel,
    recurrent_from,
    recurrent_sizes,
    recurrent_to,
    recurrent_weights,
)


class Config(RecurrentConfig):
    """Sizes of an LSTM model."""

    architecture: Literal["lstm"] = "lstm"  # pyright: ignore[reportIncompatibleVariableOverride]


class Model(RecurrentModel):
    """An LSTM language model; see `LanguageModel` for what it does."""


derived_sizes = recurrent_sizes

MODEL_TYPES = ("groundup_lstm",)

weights = recurrent_weights
to_hugging_face = recurrent_to


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    return recurrent_from(values, Config)
