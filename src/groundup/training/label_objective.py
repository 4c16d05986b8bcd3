"""What a classifier is trained to make small: the summed negative log likelihood of its texts' labels.

One idea: a text's loss is its own, whatever texts stand beside it, so the loop's one division, by the texts of the step,
stays true however a step is cut. A class's weight is therefore a constant of the data, scaled so that the mean weight of a
training text is 1 (King and Zeng 2001, "Logistic Regression in Rare Events Data", section 4.1: inverse frequencies).

Shapes: B rows, C labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from groundup.training.objectives import Objective

if TYPE_CHECKING:
    from groundup.data.labelled_batches import LabelledBatch
    from groundup.models.classifier import Classifier


def label_loss(class_weights_C: Tensor | None = None) -> Objective:
    """The objective of classes that exclude each other: cross entropy, each text weighing as its class."""

    def loss(model: Classifier, batch: LabelledBatch) -> Tensor:
        logits_BC = model(batch.tokens_BT, batch.lengths_B)
        weights = None if class_weights_C is None else class_weights_C.to(logits_BC.device)
        return F.cross_entropy(logits_BC, batch.labels, weight=weights, reduction="sum")

    return loss


def several_labels_loss(model: Classifier, batch: LabelledBatch) -> Tensor:
    """Of labels that a text may have several of: the mean over labels of the cross entropy of yes and no, summed over texts."""
    logits_BC = model(batch.tokens_BT, batch.lengths_B)
    return F.binary_cross_entropy_with_logits(logits_BC, batch.labels, reduction="none").mean(dim=1).sum()


def balanced_weights(counts: list[int]) -> Tensor:
    """A weight for each class, inversely to how many texts it has; a text weighs 1 in the mean."""
    there = torch.tensor(counts, dtype=torch.float64)
    return (there.sum() / (len(counts) * there)).float()
