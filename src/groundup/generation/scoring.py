"""How likely a model finds a text: the log-probability of every token.

One idea: a text longer than the context is read in windows that overlap by half, and each token is scored once, in
the first window that reaches it; so every token but those of the first window is judged with at least half a context
before it.

Shapes: B rows, T positions, D width, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from groundup.core.errors import GroundupError
from groundup.generation.engine import inference
from groundup.models.base import LanguageModel

LOGITS_AT_ONCE = 1 << 25  # 128 MiB in float32; the softmax needs as much again


@dataclass(frozen=True)
class Score:
    """How likely a text is: natural logarithms, token by token and in total."""

    ids: tuple[int, ...]
    log_probabilities: tuple[float, ...]  # of each id, given all before it that the context holds
    n_bytes: int

    @property
    def log_likelihood(self) -> float:
        """The logarithm of the probability of the whole text."""
        return math.fsum(self.log_probabilities)

    @property
    def bits_per_byte(self) -> float:
        """Bits this model would need for each UTF-8 byte of the text: comparable whatever the tokenizer."""
        return -self.log_likelihood / math.log(2) / self.n_bytes


@torch.inference_mode()
def target_log_probabilities(
    model: LanguageModel, tokens_BT: Tensor, targets_BT: Tensor, document_ids_BT: Tensor | None = None
) -> Tensor:
    """The log-probability [B, T] (float32) of each target after the tokens up to its position; 0 where it is -100."""
    with inference(model):
        hidden_ND = model.trunk(tokens_BT, document_ids_BT=document_ids_BT).flatten(0, 1)
        targets_N = targets_BT.flatten()
        n_rows = max(1, LOGITS_AT_ONCE // model.config.vocab_size)
        # cross_entropy is minus the log-probability, and 0 at the label -100.
        losses = [
            cross_entropy(model.unembed(hidden).float(), targets, ignore_index=-100, reduction="none")
            for hidden, targets in zip(hidden_ND.split(n_rows), targets_N.split(n_rows), strict=True)
        ]
    return -torch.cat(losses).view_as(targets_BT)


def score_ids(model: LanguageModel, ids: list[int], first_id: int) -> list[float]:
    """The log-probability of each of `ids`, the first of them after `first_id` (the token a text begins with).

    Raises `GroundupError` when there are none.
    """
    if not ids:
        raise GroundupError("an empty text has no likelihood; give at least one character")
    device = next(model.parameters()).device
    length = model.config.context_length
    stride = max(1, length // 2)
    inputs = torch.tensor([first_id, *ids[:-1]], device=device)
    targets = torch.tensor(ids, device=device)
    scores: list[float] = []
    for start in range(0, len(ids), stride):
        window = slice(start, start + length)
        new = target_log_probabilities(model, inputs[None, window], targets[None, window])[0]
        scores += new[len(scores) - start :].tolist()
        if len(scores) == len(ids):
            break
    return scores
