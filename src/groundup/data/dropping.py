"""Dropping tokens: a few random tokens of every row are left out, so that no reading of a text is quite like the last.

One idea: what is never read twice alike is harder to learn by heart. A dropped token is deleted, not hidden: what
follows it moves up, and the token before it is asked for the one after (token deletion, Lewis et al. 2020, "BART", section
2.2, there with a model that restores it; against memorising, Hans et al. 2024, "Be like a goldfish", leave tokens out of the
loss instead). Which tokens go is a pure function of (seed, number of the row in the whole run), so it differs at every
reading of a row, and not after a resume or on another number of machines.
"""

from __future__ import annotations

import numpy as np

from groundup.data.order import mix
from groundup.data.windows import IGNORED_LABEL

_NEVER = np.iinfo(np.uint64).max


def drop_tokens(
    inputs: np.ndarray,
    labels: np.ndarray,
    documents: np.ndarray,
    *,
    numbers: np.ndarray,
    most: int,
    seed: int,
    eos_id: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Delete 1 to `most` tokens of each row; all arrays int64 [rows, context_length], `numbers` [rows].

    The first token of a segment, ends of text and empty room stay, so no border between documents moves into another; a row
    with fewer tokens to choose from loses fewer. Rows are filled up at their end with positions without a label.
    """
    n_rows, length = inputs.shape
    assert most >= 1, most
    row_keys = mix(mix(np.array([seed % (1 << 64)], np.uint64)) ^ numbers.astype(np.uint64))
    keys = mix(row_keys[:, None] + np.arange(1, length + 1, dtype=np.uint64))
    may_go = np.zeros((n_rows, length), bool)
    may_go[:, 1:] = (
        (documents[:, 1:] == documents[:, :-1]) & (inputs[:, 1:] != eos_id) & (labels[:, :-1] != IGNORED_LABEL)
    )
    keys[~may_go] = _NEVER
    wanted = (1 + row_keys % np.uint64(most)).astype(np.int64)
    n_dropped = np.minimum(wanted, may_go.sum(axis=1))

    ranked = np.argsort(keys, axis=1, kind="stable")
    dropped = np.zeros((n_rows, length), bool)
    np.put_along_axis(dropped, ranked, np.arange(length) < n_dropped[:, None], axis=1)
    kept_inputs = np.argsort(dropped, axis=1, kind="stable")  # the dropped ones go to the end
    # The token before a dropped one is asked for what the dropped one was asked for: the label that goes is the one before.
    kept_labels = np.argsort(np.roll(dropped, -1, axis=1), axis=1, kind="stable")
    empty = np.arange(length) >= length - n_dropped[:, None]
    last_segment = documents.max(axis=1, keepdims=True) + 1
    return (
        np.where(empty, eos_id, np.take_along_axis(inputs, kept_inputs, axis=1)),
        np.where(empty, IGNORED_LABEL, np.take_along_axis(labels, kept_labels, axis=1)),
        np.where(empty, last_segment, np.take_along_axis(documents, kept_inputs, axis=1)),
    )
