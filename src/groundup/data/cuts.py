"""What a way of reading cuts, said before it happens.

One idea: nothing is left out in silence. A window's border runs through documents, the end of a text may not fill a window,
packed rows have empty room, and no document longer than the context is ever seen whole.
"""

from __future__ import annotations

import numpy as np

from groundup.data.lengths import document_lengths, n_cut_by_windows, n_longer
from groundup.data.packing import PackedRows, Rows
from groundup.data.remarks import documents


def said_cuts(rows: Rows) -> str:
    """A sentence on what these rows cut, leave out or leave empty."""
    lengths = document_lengths(rows.split)
    if isinstance(rows, PackedRows):
        return _said_packed(rows, lengths)
    n_long = n_longer(lengths, rows.context_length)
    n_cut = n_cut_by_windows(rows.split, rows.context_length, rows.stride)
    left_out = rows.split.n_tokens - 1 - rows.targets_reached
    every = "" if rows.stride == rows.context_length else f", one every {rows.stride:,}"
    sentence = f"{len(rows):,} windows of {rows.context_length:,} tokens{every}; "
    sentence += f"their borders cut {n_cut:,} of {documents(len(lengths))}" if n_cut else "no document is cut"
    if n_long:
        sentence += f" ({n_long:,} {'is' if n_long == 1 else 'are'} longer than a window)"
    if left_out:
        sentence += f"; the last {left_out:,} {'token is' if left_out == 1 else 'tokens are'} left out"
    return sentence


def _said_packed(rows: PackedRows, lengths: np.ndarray) -> str:
    n_cut = rows.n_cut_documents
    cut = (
        f"{n_cut:,} {'is longer than a row and is' if n_cut == 1 else 'are longer than a row and are'} read in pieces"
        if n_cut
        else "none is cut"
    )
    return (
        f"{documents(len(lengths))} packed into {len(rows):,} rows of {rows.context_length:,} tokens, "
        f"{rows.padding:.1%} of them empty; {cut}"
    )
