"""GRU: the LSTM with less in it: one memory, two gates.

Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder", section 2.3; Chung et al. 2014
found it about as good as the LSTM.
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
    """Sizes of a GRU model."""

    architecture: Literal["gru"] = "gru"  # pyright: ignore[reportIncompatibleVariableOverride]


class Model(RecurrentModel):
    """A GRU language model; see `LanguageModel` for what it does."""


derived_sizes = recurrent_sizes

MODEL_TYPES = ("groundup_gru",)

weights = recurrent_weights
to_hugging_face = recurrent_to


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    return recurrent_from(values, Config)
