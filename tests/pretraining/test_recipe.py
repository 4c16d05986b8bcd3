"""Learning rates follow from the width, the optimizer and the architecture; what a person sets is left alone."""

from __future__ import annotations

import pytest

from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.recipe import MUON, TUNED_WIDTH, recipe_values


def test_rates_at_the_tuned_width_are_the_recipes() -> None:
    values = recipe_values(PretrainConfig())
    assert values == vars(MUON)


def test_the_head_slows_with_the_root_of_the_width_and_matrices_no_further_than_two_thirds() -> None:
    values = recipe_values(PretrainConfig(), 4 * TUNED_WIDTH)
    assert values["head_learning_rate"] == pytest.approx(MUON.head_learning_rate / 2)
    assert values["learning_rate"] == pytest.approx(MUON.learning_rate * 2 / 3)
    assert values["embedding_learning_rate"] == MUON.embedding_learning_rate


def test_small_embeddings_learn_in_small_steps() -> None:
    """Rows of GPT-2 begin at 0.02; the default's rate threw its training loss to 26 nats."""
    values = recipe_values(PretrainConfig(architecture="gpt2"))
    assert values["embedding_learning_rate"] == pytest.approx(MUON.embedding_learning_rate / 10)
    assert values["learning_rate"] == MUON.learning_rate


def test_what_is_set_is_not_derived() -> None:
    assert "learning_rate" not in recipe_values(PretrainConfig(learning_rate=0.5))
