"""RNN: the plain recurrent network, where language models of neural networks with a memory began.

Each layer's memory is one vector, made anew from the token and itself. Gradients fade or explode over long spans
(Bengio et al. 1994), which the LSTM was made against. Sources: Elman 1990; Mikolov et al. 2010, "Recurrent neural network
based language model".
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
    """Sizes of an RNN model."""

    architecture: Literal["rnn"] = "rnn"  # pyright: ignore[reportIncompatibleVariableOverride]


class Model(RecurrentModel):
    """An Elman network as a language model; see `LanguageModel` for what it does."""


derived_sizes = recurrent_sizes

MODEL_TYPES = ("groundup_rnn",)

weights = recurrent_weights
to_hugging_face = recurrent_to


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    return recurrent_from(values, Config)
