"""A classifier's loss is torch's, summed; weights keep the mean text at one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from groundup.data.labelled_batches import LabelledBatch
from groundup.training.label_objective import balanced_weights, label_loss, several_labels_loss

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.3, -2.0]])


def model(tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    return LOGITS


def batch(labels: torch.Tensor) -> Any:
    return LabelledBatch(torch.zeros(2, 4, dtype=torch.long), torch.tensor([4, 2]), labels)


def test_one_label():
    labels = torch.tensor([2, 1])
    chances = LOGITS.softmax(1)
    wanted = -(chances[0, 2].log() + chances[1, 1].log())
    assert float(label_loss()(model, batch(labels))) == pytest.approx(float(wanted))
    weighed = label_loss(torch.tensor([1.0, 3.0, 0.5]))(model, batch(labels))
    assert float(weighed) == pytest.approx(float(-(0.5 * chances[0, 2].log() + 3 * chances[1, 1].log())))


def test_several_labels():
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    wanted = 2 * F.binary_cross_entropy(LOGITS.sigmoid(), labels)  # torch's mean over all six, for two texts
    assert float(several_labels_loss(model, batch(labels))) == pytest.approx(float(wanted))


def test_weights_are_inverse_to_frequency_and_one_in_the_mean():
    counts = [90, 10]
    weights = balanced_weights(counts)
    assert weights.tolist() == pytest.approx([100 / 180, 5.0])
    assert sum(weight * count for weight, count in zip(weights.tolist(), counts, strict=True)) == pytest.approx(100)
