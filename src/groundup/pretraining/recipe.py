"""The recipe: learning rates and constants of a pretraining run, and how they follow from the model and the run.

Every number was found by runs on this project's benchmark texts (docs/log.md tells which), starting from published ones:
Muon for the hidden matrices with a rate that does not depend on width, because its steps have a fixed size in the
spectral norm (Jordan 2024; Bernstein 2025); AdamW for tables and vectors; no warm-up for Muon; a linear decay to zero
over the larger part of the run (Bergsma et al. 2025).
"""

from __future__ import annotations

from dataclasses import dataclass

from groundup.models import architecture
from groundup.pretraining.config import PretrainConfig


@dataclass(frozen=True)
class Recipe:
    """What a run uses where its settings say nothing; learning rates are those of a model of width `TUNED_WIDTH`."""

    learning_rate: float  # hidden matrices
    embedding_learning_rate: float
    head_learning_rate: float
    vector_learning_rate: float
    weight_decay: float
    warmup: float  # share of the run
    decay: float  # share of the run, at its end


TUNED_WIDTH = 128

MUON = Recipe(
    learning_rate=0.03,
    embedding_learning_rate=0.3,
    head_learning_rate=0.01,
    vector_learning_rate=0.01,
    weight_decay=0.0,
    warmup=0.0,
    decay=0.7,
)
ADAMW = Recipe(
    learning_rate=3e-3,
    embedding_learning_rate=3e-3,
    head_learning_rate=3e-3,
    vector_learning_rate=3e-3,
    weight_decay=0.1,
    warmup=0.02,
    decay=0.7,
)


def recipe_values(config: PretrainConfig, d_model: int = TUNED_WIDTH) -> dict[str, float]:
    """The recipe's values for every setting of `config` that is None, for a model of width `d_model`.

    Rates of matrices and head fall with the square root of the width (not below two thirds for Muon, whose optimum is
    flat); those of the embedding and of vectors do not: each of their numbers moves by itself, whatever the width.
    """
    recipe = MUON if config.optimizer == "muon" else ADAMW
    narrowing = (TUNED_WIDTH / d_model) ** 0.5
    values = dict(vars(recipe))
    values["head_learning_rate"] *= narrowing
    values["learning_rate"] *= max(narrowing, 2 / 3) if config.optimizer == "muon" else narrowing
    if config.optimizer == "adamw":
        values["embedding_learning_rate"] *= narrowing
    else:
        values["embedding_learning_rate"] *= architecture(config.architecture).Model.embedding_pace
    return {name: value for name, value in values.items() if getattr(config, name) is None}
