"""New rows are means of old ones; everything else, and every old logit, is as it was."""

from __future__ import annotations

import pytest
import torch

from groundup.checkpoints.vocabulary_growth import grown
from groundup.core.errors import GroundupError
from groundup.models.discovery import build_model
from groundup.models.sizes import config_for_size

OLD_PIECES = [[0, 1], [5], [2, 2, 7]]


@pytest.fixture(params=[("gpt2", True), ("qwen3", True), ("qwen3", False)], ids=["gpt2", "qwen3 tied", "qwen3"])
def model(request):
    architecture, tied = request.param
    config = config_for_size("d2", 40, 16, architecture, tie_embeddings=tied)
    return build_model(config, seed=0).eval()


def filled(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2, generator=generator)
    return model


@pytest.mark.parametrize("first_id", [40, 38])
def test_rows_and_logits(model, first_id):
    larger = grown(filled(model), first_id, OLD_PIECES)
    assert larger.config.vocab_size == first_id + 3
    tables = [(model.token_embedding.weight, larger.token_embedding.weight)]
    if model.head is not None:
        tables.append((model.head.weight, larger.head.weight))
    for old, new in tables:
        assert torch.equal(new[:first_id], old[:first_id])
        for row, pieces in enumerate(OLD_PIECES, first_id):
            torch.testing.assert_close(new[row], torch.stack([old[id] for id in pieces]).mean(0))
    tokens = torch.arange(12)[None]
    torch.testing.assert_close(larger(tokens)[..., :first_id], model(tokens)[..., :first_id])
    # Every row of a tied model's head is its embedding's; the logit of a new token is the mean of its pieces' logits.
    pieces_mean = model(tokens)[..., [2, 2, 7]].mean(-1)
    torch.testing.assert_close(larger(tokens)[..., first_id + 2], pieces_mean, atol=1e-4, rtol=1e-4)


def test_spare_rows_are_used_and_never_lost(model):
    larger = grown(filled(model), 10, OLD_PIECES)
    assert larger.config.vocab_size == 40
    assert torch.equal(larger.token_embedding.weight[13:], model.token_embedding.weight[13:])


def test_a_gap_is_refused(model):
    with pytest.raises(GroundupError, match="the first new id 41 leaves a gap behind the model's 40 ids"):
        grown(model, 41, OLD_PIECES)
