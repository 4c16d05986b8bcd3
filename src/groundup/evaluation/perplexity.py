"""How well a model predicts held-out text: loss, perplexity, bits per byte.

One idea: everything is a sum over tokens, divided once at the end. So the figures are the same for every batch size,
and a window that is half ignored weighs half.

Bits per byte divide the information by the UTF-8 bytes it stands for, which makes models with different tokenizers
comparable. Special tokens stand for no bytes: they are left out of these bits as well as of the bytes (as nanochat
counts), so the figure is about text alone. Loss and perplexity count every target.

The standard error treats windows as independent draws of the text: the loss is a ratio of two sums over windows
(nats, targets), and the delta method gives its variance (Cochran 1977, "Sampling Techniques", section 2.11).

Shapes: B rows, T positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from groundup.core.errors import GroundupError
from groundup.data.batches import Batch
from groundup.generation.scoring import target_log_probabilities
from groundup.models.base import LanguageModel


@dataclass(frozen=True)
class Scores:
    """Figures of one evaluation."""

    loss: float  # nats a token
    loss_standard_error: float  # of the mean, by window; NaN for a single window
    perplexity: float
    bits_per_byte: float  # NaN when no target stands for any byte
    n_tokens: int  # targets counted in the loss
    n_bytes: int
    n_windows: int


def evaluate(model: LanguageModel, batches: Iterable[Batch], token_bytes: np.ndarray) -> Scores:
    """Predict every target of `batches` (label -100: none) and sum up.

    `token_bytes` [V] holds the UTF-8 bytes each id stands for, 0 for special tokens (`Tokenizer.token_bytes()`).
    Dropout is off meanwhile. Raises `GroundupError` when there is no target.
    """
    device = next(model.parameters()).device
    bytes_V = torch.as_tensor(token_bytes, device=device, dtype=torch.int64)
    window_nats: list[float] = []
    window_tokens: list[int] = []
    text_nats: list[float] = []  # of the targets that stand for bytes
    n_bytes = 0
    for batch in batches:
        batch = batch.to(device)
        labels_BT = batch.labels_BT
        nats_BT = -target_log_probabilities(model, batch.tokens_BT, labels_BT, batch.document_ids_BT).double()
        counted_BT = labels_BT != -100
        bytes_BT = torch.where(counted_BT, bytes_V[labels_BT.clamp(min=0)], 0)
        window_nats += nats_BT.sum(-1).tolist()
        window_tokens += counted_BT.sum(-1).tolist()
        text_nats += torch.where(bytes_BT > 0, nats_BT, 0).sum(-1).tolist()
        n_bytes += int(bytes_BT.sum())
    n_tokens = sum(window_tokens)
    if n_tokens == 0:
        raise GroundupError("nothing to evaluate: no batch holds a target; give more validation text")
    loss = math.fsum(window_nats) / n_tokens
    return Scores(
        loss=loss,
        loss_standard_error=_standard_error(window_nats, window_tokens, loss),
        perplexity=math.exp(loss) if loss < 700 else math.inf,
        bits_per_byte=math.fsum(text_nats) / math.log(2) / n_bytes if n_bytes else math.nan,
        n_tokens=n_tokens,
        n_bytes=n_bytes,
        n_windows=sum(n > 0 for n in window_tokens),
    )


def weighted_mean(scores: Sequence[Scores], shares: Sequence[float]) -> Scores:
    """The scores on a mixture of texts of which text i has `shares[i]` of the tokens; shares sum to 1.

    Each text's loss counts by its share, however much of it was read. Bits per byte are the mixture's bits a token over
    its bytes a token.
    """
    if len(scores) == 1:
        return scores[0]
    pairs = list(zip(scores, shares, strict=True))
    loss = math.fsum(share * each.loss for each, share in pairs)
    bytes_per_token = math.fsum(share * each.n_bytes / each.n_tokens for each, share in pairs)
    bits_per_token = math.fsum(
        share * each.bits_per_byte * each.n_bytes / each.n_tokens for each, share in pairs if each.n_bytes
    )
    return Scores(
        loss=loss,
        loss_standard_error=math.sqrt(math.fsum((share * each.loss_standard_error) ** 2 for each, share in pairs)),
        perplexity=math.exp(loss) if loss < 700 else math.inf,
        bits_per_byte=bits_per_token / bytes_per_token if bytes_per_token else math.nan,
        n_tokens=sum(each.n_tokens for each, _ in pairs),
        n_bytes=sum(each.n_bytes for each, _ in pairs),
        n_windows=sum(each.n_windows for each, _ in pairs),
    )


def _standard_error(window_nats: list[float], window_tokens: list[int], loss: float) -> float:
    """Of the ratio sum(nats) / sum(tokens), over windows that have targets."""
    residuals = [nats - loss * n for nats, n in zip(window_nats, window_tokens, strict=True) if n > 0]
    if len(residuals) < 2:
        return math.nan
    variance = math.fsum(r * r for r in residuals) * len(residuals) / (len(residuals) - 1)
    return math.sqrt(variance) / sum(window_tokens)
