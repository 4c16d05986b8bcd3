"""How long the documents are, in tokens, and what a context would cut: said before anything is trained.

One idea: a document longer than the context can only be read in pieces, and each piece but the first begins without
what stood before it. How many there are follows from the lengths alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from groundup.data.store import TokenSplit


def document_starts(split: TokenSplit) -> np.ndarray:
    """Where each document of a split begins, int64 [n_documents], rising."""
    shards = [split.document_starts(shard).astype(np.int64) for shard in range(split.n_shards)]
    return np.concatenate(shards) if shards else np.empty(0, np.int64)


def document_lengths(split: TokenSplit) -> np.ndarray:
    """Tokens of each document, its end of text included, int64 [n_documents]; 8 bytes a document."""
    return np.diff(document_starts(split), append=split.n_tokens)


@dataclass(frozen=True)
class LengthSummary:
    """The lengths of a split's documents: a few quantiles, and how many documents lie between powers of two."""

    n_documents: int
    n_tokens: int
    shortest: int
    median: int
    mean: float
    longest: int
    histogram: tuple[tuple[int, int, int], ...]  # (from, to, documents with so many tokens), without gaps


def summarize_lengths(lengths: np.ndarray) -> LengthSummary:
    """The summary of `lengths` (tokens a document); zeros where there is none."""
    if not len(lengths):
        return LengthSummary(0, 0, 0, 0, 0.0, 0, ())
    powers = np.frexp(lengths)[1] - 1  # 2^power <= length < 2^(power + 1)
    counts = np.bincount(powers)
    first = int(powers.min())
    histogram = tuple((1 << k, (2 << k) - 1, int(counts[k])) for k in range(first, len(counts)))
    return LengthSummary(
        n_documents=len(lengths),
        n_tokens=int(lengths.sum()),
        shortest=int(lengths.min()),
        median=int(np.median(lengths)),
        mean=float(lengths.mean()),
        longest=int(lengths.max()),
        histogram=histogram,
    )


def n_longer(lengths: np.ndarray, context_length: int) -> int:
    """How many documents have more targets than a row of `context_length` holds."""
    return int((lengths > context_length).sum())


def n_cut_by_windows(split: TokenSplit, context_length: int, stride: int) -> int:
    """How many documents no single window holds whole: a window's border runs through them.

    A document at [start, end) is whole in a window when the window's first target is at or before start and its last at
    or after end - 1; window w has the targets w * stride + 1 .. w * stride + context_length.
    """
    starts = document_starts(split)
    ends = np.append(starts[1:], split.n_tokens)
    latest = (starts - 1) // stride  # the last window that begins early enough; before token 1 there is no target
    last_window = (split.n_tokens - context_length - 1) // stride
    latest = np.clip(latest, 0, last_window)
    return int((ends - 1 > latest * stride + context_length).sum())
