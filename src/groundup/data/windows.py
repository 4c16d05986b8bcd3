"""Windows: what the model reads at once, cut from the long row of tokens.

Window i is `tokens[i * stride : i * stride + context_length + 1]`; its inputs are all but the last token, its targets
all but the first. Labels are shifted here and nowhere else. A stride of `context_length` shows every target once an
epoch; a smaller stride slides the window, as textbooks do (Raschka, "Build a Large Language Model (From Scratch)",
2.6).
"""

from __future__ import annotations

import numpy as np

from groundup.core.errors import GroundupError
from groundup.data.store import TokenSplit, document_ids

IGNORED_LABEL = -100  # what PyTorch's cross-entropy leaves out


class Windows:
    """The windows of a split, made when asked for.

    For training, the tokens after the last whole window (fewer than `stride`) are left out. With `to_the_end` (for
    evaluation) one more window is laid over them, ending at the last token, and `new_targets` says how many of a
    window's targets no earlier window had, so that each is scored once; a split shorter than one window is then one
    shorter window. Without `document_mask` a window is read as one document, whatever ends in it.
    """

    def __init__(
        self,
        split: TokenSplit,
        context_length: int,
        stride: int | None = None,
        *,
        to_the_end: bool = False,
        document_mask: bool = True,
    ) -> None:
        stride = context_length if stride is None else stride
        if context_length < 1:
            raise GroundupError(f"context_length is {context_length}; it must be at least 1")
        if not 1 <= stride <= context_length:
            raise GroundupError(
                f"stride {stride} is not between 1 and context_length {context_length}; a longer one would skip text"
            )
        if to_the_end and 2 <= split.n_tokens <= context_length:
            context_length = split.n_tokens - 1
        if split.n_tokens < context_length + 1:
            shorter = f", or a context_length of at most {split.n_tokens - 1:,}" if split.n_tokens > 1 else ""
            raise GroundupError(
                f"the {split.name} split has {split.n_tokens:,} tokens; one window of context_length "
                f"{context_length:,} needs {context_length + 1:,}: give more text{shorter}"
            )
        self.split = split
        self.context_length = context_length
        self.stride = stride
        self._last_start = split.n_tokens - context_length - 1
        n_before = self._last_start // stride + 1  # windows that start at a multiple of the stride
        self._n = n_before + (1 if to_the_end and (n_before - 1) * stride < self._last_start else 0)
        self.crosses_documents = document_mask and self._crosses_documents()

    def __len__(self) -> int:
        return self._n

    @property
    def eos_id(self) -> int:
        """The id that ends a document."""
        return self.split.eos_id

    @property
    def targets_reached(self) -> int:
        """How many targets the windows hold together; a text of n tokens has n - 1."""
        return self.start(self._n - 1) + self.context_length

    @property
    def tokens_per_row(self) -> float:
        """Labels in a row."""
        return self.context_length

    def start(self, index: int) -> int:
        """The position of the window's first input."""
        assert 0 <= index < self._n, (index, self._n)
        return min(index * self.stride, self._last_start)

    def window(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(inputs, targets), each [context_length]: targets[t] is the token that follows inputs[t]."""
        tokens = self.split.read(self.start(index), self.context_length + 1)
        return tokens[:-1], tokens[1:]

    def rows(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs, labels and document numbers of several windows, each int64 [len(indices), context_length].

        Inputs and labels are views of one array. Document numbers are all 0 where no window crosses a border.
        """
        tokens = np.empty((len(indices), self.context_length + 1), np.int64)
        for row, index in zip(tokens, indices.tolist(), strict=True):
            row[:] = self.split.read(self.start(index), self.context_length + 1)
        inputs, labels = tokens[:, :-1], tokens[:, 1:]
        if not self.crosses_documents:
            return inputs, labels, np.zeros_like(inputs)
        return inputs, labels, document_ids(inputs, self.split.eos_id)

    def new_targets(self, index: int) -> int:
        """How many of the window's targets no window before it has; they are its last ones."""
        return self.context_length if index == 0 else self.start(index) - self.start(index - 1)

    def _crosses_documents(self) -> bool:
        """Whether any window holds a position that must not see the window's beginning."""
        for shard in range(self.split.n_shards):
            starts = self.split.document_starts(shard)
            ends = starts[starts > 0].astype(np.int64) - 1  # the end of text before each document
            # An end of text at input 1 .. context_length - 1 of a window opens a second segment there; at
            # input 0 it opens the only one. So: does a window start in [end - context_length + 1, end - 1]?
            first = np.maximum(-(-(ends - self.context_length + 1) // self.stride), 0)
            if (np.minimum(first * self.stride, self._last_start) <= ends - 1).any() and self.context_length > 1:
                return True
        return False
