"""Evaluation: sums over tokens divided once, so batches, windows and padding make no difference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.data.batches import Batch
from groundup.evaluation.perplexity import Scores, evaluate, weighted_mean
from groundup.models import LanguageModel, build_model, config_for_size

VOCAB, LENGTH, N_WINDOWS = 97, 16, 7
TOKEN_BYTES = np.array([1 + i % 4 for i in range(VOCAB - 2)] + [0, 0], dtype=np.int32)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    model = build_model(config_for_size("d2", VOCAB, LENGTH, "gpt2", d_model=32, d_head=8), seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


@pytest.fixture(scope="module")
def rows() -> Batch:
    tokens = torch.randint(VOCAB, (N_WINDOWS, LENGTH + 1), generator=torch.Generator().manual_seed(0))
    labels = tokens[:, 1:].clone()
    labels[2, :5] = -100
    labels[4, 1:] = -100
    return Batch(tokens[:, :-1], labels)


def batches(rows: Batch, size: int) -> list[Batch]:
    ids = rows.document_ids_BT
    return [
        Batch(rows.tokens_BT[i : i + size], rows.labels_BT[i : i + size], None if ids is None else ids[i : i + size])
        for i in range(0, len(rows.tokens_BT), size)
    ]


def nats_by_hand(model, rows: Batch) -> torch.Tensor:
    with torch.inference_mode():
        log_p = model.eval()(rows.tokens_BT, document_ids_BT=rows.document_ids_BT).double().log_softmax(-1)
    return -log_p.gather(-1, rows.labels_BT.clamp(min=0)[..., None])[..., 0]


def test_the_figures_are_those_of_the_definitions(model, rows):
    scores = evaluate(model, batches(rows, 3), TOKEN_BYTES)
    nats, counted = nats_by_hand(model, rows), rows.labels_BT != -100
    n_bytes_BT = torch.tensor(TOKEN_BYTES)[rows.labels_BT.clamp(min=0)] * counted
    assert scores.n_tokens == int(counted.sum()) == N_WINDOWS * LENGTH - 5 - 15
    assert scores.n_windows == N_WINDOWS
    assert scores.n_bytes == int(n_bytes_BT.sum())
    assert scores.loss == pytest.approx(float(nats[counted].mean()), abs=1e-5)
    assert scores.perplexity == pytest.approx(math.exp(scores.loss))
    bits = float(nats[n_bytes_BT > 0].sum()) / math.log(2)
    assert scores.bits_per_byte == pytest.approx(bits / scores.n_bytes, abs=1e-5)


@pytest.mark.parametrize("size", [1, 2, 5, 7])
def test_the_batch_size_makes_no_difference(model, rows, size):
    ours, reference = evaluate(model, batches(rows, size), TOKEN_BYTES), evaluate(model, [rows], TOKEN_BYTES)
    assert (ours.n_tokens, ours.n_bytes, ours.n_windows) == (reference.n_tokens, reference.n_bytes, reference.n_windows)
    assert ours.loss == pytest.approx(reference.loss, rel=1e-6)
    assert ours.loss_standard_error == pytest.approx(reference.loss_standard_error, rel=1e-5)
    assert ours.bits_per_byte == pytest.approx(reference.bits_per_byte, rel=1e-6)


def test_special_tokens_count_for_the_loss_but_not_for_bits_per_byte(model):
    tokens = torch.tensor([[1, 2, VOCAB - 1, 3]])
    labels = torch.tensor([[2, VOCAB - 1, 3, 4]])
    scores = evaluate(model, [Batch(tokens, labels)], TOKEN_BYTES)
    nats = nats_by_hand(model, Batch(tokens, labels))[0]
    assert scores.n_tokens == 4
    assert scores.n_bytes == 3 + 4 + 1
    assert scores.loss == pytest.approx(float(nats.mean()), abs=1e-5)
    assert scores.bits_per_byte == pytest.approx(float(nats[0] + nats[2] + nats[3]) / math.log(2) / 8, abs=1e-5)


def test_the_standard_error_is_that_of_the_mean_of_equal_windows(model, rows):
    full = Batch(rows.tokens_BT, rows.tokens_BT.roll(-1, dims=1))
    window_means = nats_by_hand(model, full).mean(-1)
    expected = float(window_means.std()) / math.sqrt(N_WINDOWS)
    assert evaluate(model, [full], TOKEN_BYTES).loss_standard_error == pytest.approx(expected, rel=1e-4)


def test_the_standard_error_covers_the_truth():
    """Windows drawn from one distribution: the mean of each draw lies within two standard errors 95 times of 100."""
    from groundup.evaluation.perplexity import _standard_error

    generator, inside = torch.Generator().manual_seed(0), 0
    for _ in range(300):
        n_tokens = torch.randint(5, 60, (40,), generator=generator)
        noise = torch.randn(40, generator=generator) * 0.5
        nats = ((3.0 + noise) * n_tokens).tolist()
        loss = sum(nats) / int(n_tokens.sum())
        inside += abs(loss - 3.0) < 2 * _standard_error(nats, n_tokens.tolist(), loss)
    assert 0.91 < inside / 300 < 0.99


def test_documents_do_not_see_each_other(model, rows):
    two = torch.arange(LENGTH).ge(LENGTH // 2).long().expand(N_WINDOWS, LENGTH)
    apart = evaluate(model, batches(Batch(rows.tokens_BT, rows.labels_BT, two), 2), TOKEN_BYTES)
    assert apart.loss == pytest.approx(
        float(nats_by_hand(model, Batch(rows.tokens_BT, rows.labels_BT, two))[rows.labels_BT != -100].mean()), abs=1e-5
    )
    assert abs(apart.loss - evaluate(model, [rows], TOKEN_BYTES).loss) > 1e-3


def test_a_model_that_knows_nothing_has_the_size_of_its_vocabulary_as_perplexity(rows):
    model = build_model(config_for_size("d2", VOCAB, LENGTH, "gpt2", d_model=32, d_head=8))
    with torch.no_grad():
        model.token_embedding.weight.zero_()
    scores = evaluate(model, [rows], np.ones(VOCAB, dtype=np.int32))
    assert scores.perplexity == pytest.approx(VOCAB, rel=1e-5)
    assert scores.bits_per_byte == pytest.approx(math.log2(VOCAB), rel=1e-5)
    assert scores.loss_standard_error == pytest.approx(0, abs=1e-6)


def test_edges(model, rows):
    with pytest.raises(GroundupError, match="nothing to evaluate"):
        evaluate(model, [], TOKEN_BYTES)
    with pytest.raises(GroundupError, match="nothing to evaluate"):
        evaluate(model, [Batch(rows.tokens_BT, torch.full_like(rows.labels_BT, -100))], TOKEN_BYTES)
    one = evaluate(model, [Batch(rows.tokens_BT[:1], rows.labels_BT[:1])], np.zeros(VOCAB, dtype=np.int32))
    assert math.isnan(one.loss_standard_error)
    assert math.isnan(one.bits_per_byte)
    assert one.n_bytes == 0


def test_dropout_is_off_meanwhile_and_back_on_afterwards(model, rows):
    expected = evaluate(model, [rows], TOKEN_BYTES).loss
    model.train()
    assert evaluate(model, [rows], TOKEN_BYTES).loss == expected
    assert model.training
    model.eval()


def test_the_mean_of_texts_counts_each_by_its_share() -> None:
    one = Scores(2.0, 0.3, math.exp(2.0), 1.5, n_tokens=100, n_bytes=400, n_windows=10)
    other = Scores(4.0, 0.4, math.exp(4.0), 2.5, n_tokens=1000, n_bytes=2000, n_windows=100)
    found = weighted_mean([one, other], [0.75, 0.25])
    assert found.loss == pytest.approx(2.5)
    assert found.perplexity == pytest.approx(math.exp(2.5))
    assert found.loss_standard_error == pytest.approx(math.hypot(0.75 * 0.3, 0.25 * 0.4))
    # A token of the mixture is 0.75 * 4 + 0.25 * 2 = 3.5 bytes and takes 0.75 * 6 + 0.25 * 5 bits.
    assert found.bits_per_byte == pytest.approx((0.75 * 6 + 0.25 * 5) / 3.5)
    assert (found.n_tokens, found.n_bytes, found.n_windows) == (1100, 2400, 110)
    assert weighted_mean([one], [1.0]) == one
