"""The likelihood of a text: by the definition for short texts, each token once for long ones."""

from __future__ import annotations

import math

import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.generation import scoring
from groundup.generation.scoring import Score, score_ids, target_log_probabilities

from .conftest import CONTEXT, VOCAB


def log_probability_by_hand(model, before: list[int], token: int) -> float:
    with torch.inference_mode():
        return float(model(torch.tensor([before]))[0, -1].double().log_softmax(-1)[token])


def test_each_token_is_judged_by_all_before_it(model):
    ids = [3, 1, 4, 1, 5, 9]
    expected = [log_probability_by_hand(model, [0, *ids[:i]], ids[i]) for i in range(len(ids))]
    assert score_ids(model, ids, 0) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("n_ids", [CONTEXT - 1, CONTEXT, CONTEXT + 1, 3 * CONTEXT, 3 * CONTEXT + 7])
def test_a_long_text_is_scored_once_with_half_a_context_at_least(model, n_ids):
    ids = [(11 * i * i + 3) % VOCAB for i in range(n_ids)]
    inputs, half = [0, *ids], CONTEXT // 2
    expected = []
    for i in range(n_ids):
        # The first window reaches CONTEXT targets; each later one half as many more.
        window = 0 if i < CONTEXT else 1 + (i - CONTEXT) // half
        expected.append(log_probability_by_hand(model, inputs[window * half : i + 1], ids[i]))
    assert score_ids(model, ids, 0) == pytest.approx(expected, abs=1e-4)


def test_ignored_targets_are_zero_and_parts_make_no_difference(model, monkeypatch):
    tokens = torch.arange(20).view(2, 10)
    targets = (tokens + 1).clone()
    targets[0, :4] = -100
    whole = target_log_probabilities(model, tokens, targets)
    assert whole.shape == (2, 10)
    assert (whole == 0).nonzero().tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", 3 * VOCAB)
    torch.testing.assert_close(target_log_probabilities(model, tokens, targets), whole, atol=1e-4, rtol=0)


def test_score_of_a_text(writer):
    score = writer.score("Crème brûlée")
    assert score.ids == tuple(writer.tokenizer.encode("Crème brûlée"))
    assert score.n_bytes == 15
    assert score.log_likelihood == pytest.approx(sum(score.log_probabilities))
    assert score.bits_per_byte == pytest.approx(-score.log_likelihood / math.log(2) / 15)
    assert list(score.log_probabilities) == score_ids(writer.model, list(score.ids), writer.tokenizer.bos_id)


def test_one_bit_per_byte_means_half_as_likely_each():
    assert Score((1, 2), (math.log(0.5), math.log(0.5)), 2).bits_per_byte == pytest.approx(1.0)


def test_an_empty_text_has_no_score(writer):
    with pytest.raises(GroundupError, match="empty text"):
        writer.score("")
