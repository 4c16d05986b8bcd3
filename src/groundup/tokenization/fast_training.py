"""Byte-pair merges by the fastest library whose merges equal those of `tokenizers`.

`gigabpe` (optional) merges as `tokenizers` does, ties and all, but splits text only at spaces or as GPT-2. So the words of
any pattern are counted by us (`word_counts.py`) and given to it one by one; both trainers thus see the same words with the same
counts, and the same letters in the same order, on which equal counts are decided. That the merges come out
equal is a property of its code, tested here on many texts; and since a later version could differ, each training
begins with the first part of its own text, learned by both: unless those merges are equal, the reference does it all.
"""

from __future__ import annotations

import importlib.util
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from groundup.core.files import clear_write_errors
from groundup.tokenization.fast import byte_alphabet
from groundup.tokenization.patterns import Pattern
from groundup.tokenization.word_counts import WordCounts

Merges = list[tuple[str, str]]
# (parts of text, pattern, number of merges, least count of a pair) -> the merges, in GPT-2's byte alphabet.
Trainer = Callable[[Iterable[str], Pattern, int, int], Merges]

# Characters that both trainers learn, to compare them. A text no longer than this is the reference's alone.
_SAMPLE = 1 << 18


def fast_trainer_is_there() -> bool:
    """Whether the optional libraries are installed: the trainer, and pyarrow, with which the words are counted."""
    return all(importlib.util.find_spec(library) for library in ("gigabpe", "pyarrow"))


def learn_merges(
    parts: Iterable[str], pattern: Pattern, n_merges: int, min_frequency: int, *, reference: Trainer
) -> tuple[Merges, str]:
    """Merges of the text in `parts`, equal to those of `reference`, and the name of the library that learned them."""
    parts = iter(parts)
    if not fast_trainer_is_there():
        return reference(parts, pattern, n_merges, min_frequency), "tokenizers"
    sample = list(_first(parts, _SAMPLE))
    expected = reference(sample, pattern, n_merges, min_frequency)
    rest = next(parts, None)
    if rest is None:
        return expected, "tokenizers"
    everything = itertools.chain(sample, [rest], parts)
    if merges_by_gigabpe(sample, pattern, n_merges, min_frequency) == expected:
        return merges_by_gigabpe(everything, pattern, n_merges, min_frequency), "gigabpe"
    return reference(everything, pattern, n_merges, min_frequency), "tokenizers"


def merges_by_gigabpe(parts: Iterable[str], pattern: Pattern, n_merges: int, min_frequency: int) -> Merges:
    """The merges as `gigabpe` learns them, from a temporary file of about the text's size."""
    from gigabpe import train_bpe  # pyright: ignore[reportAttributeAccessIssue]: it has no stubs

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "words.txt")
        with clear_write_errors(path), path.open("w", encoding="utf-8") as file:
            # All letters first, so that the vocabulary it counts to always begins with all 256.
            file.write(" ".join(byte_alphabet()) + "\n")
            with WordCounts(pattern, file) as counts:
                for part in parts:
                    counts.add(part)
        _, merges = train_bpe([str(path)], 256 + n_merges, min_frequency=min_frequency, pretokenizer="whitespace")
    return [(left, right) for left, right in merges]


def _first(parts: Iterator[str], n_characters: int) -> Iterator[str]:
    while n_characters > 0 and (part := next(parts, None)) is not None:
        yield part
        n_characters -= len(part)
