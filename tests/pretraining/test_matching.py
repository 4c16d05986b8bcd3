"""Equally many parameters, on every architecture's own dial."""

import pytest

from groundup.core.errors import GroundupError
from groundup.models import architecture_names, build_model, config_for_size
from groundup.pretraining.matching import match_parameters


@pytest.mark.parametrize("name", architecture_names())
def test_the_model_of_the_dial_is_matched_by_itself(name):
    config = config_for_size("d4", 4096, 256, name)
    found = match_parameters(name, config.n_parameters(), 4096, 256)
    assert found.config == config
    assert found.off == 0


@pytest.mark.parametrize("name", architecture_names())
@pytest.mark.parametrize("target", [1_000_000, 5_000_000, 30_000_000])
def test_all_come_near_to_one_number(name, target):
    found = match_parameters(name, target, 4096, 256, tie_embeddings=True)
    assert abs(found.off) < 0.1
    assert found.config.tie_embeddings
    assert found.n_parameters == found.config.n_parameters()
    if target < 2_000_000:
        assert found.n_parameters == sum(p.numel() for p in build_model(found.config).parameters())


def test_what_cannot_be_built_is_said():
    with pytest.raises(GroundupError, match="no_such"):
        match_parameters("no_such", 1000, 100, 32)
