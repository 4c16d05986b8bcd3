"""A small reference model: how readable a text is to somebody who has read a sample of the corpus.

The one idea: runs of one to four characters, counted by a hash in tables of a fixed size, and smoothed by Witten and Bell
(1991; Chen and Goodman 1998, section 2.5): p(c | context) = (count + kinds * p(c | shorter context)) / (total + kinds).
All of it is a few gathers over numpy arrays, so a core reads some megabytes a second, and memory never grows. A run is
known when two stretches of the sample hold it: else a document that was in the sample would vouch for itself.

CCNet (Wenzek et al. 2020, section 3.3) ranks pages by the perplexity of such a model, trained on text known to be
good. Here it learns from half a sample of the corpus itself, and the other half says what is usual: a document is an
outlier by its distance from the median in deviations (median absolute deviation times 1.4826, which estimates the standard
deviation of a normal distribution). So it tells what is unlike the rest, not what is bad; in a corpus of two
languages, the rarer one is unlike the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ORDER = 4
SLOTS = 1 << 20
_HARD = 8  # deviations above the median of windows
_ON_END = 3  # windows that make a stretch
WINDOW = 64  # characters; the smallest stretch whose readability is judged
FEWEST_CHARACTERS = 100
FEWEST_CHUNKS = 30  # fewer say nothing about what is usual

_BREAK = "\U0010ffff"
_UNSEEN = 2.0**-17  # one of Unicode's letters, any of them
_ODD = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(44)  # the first 20 bits of a hash choose its slot
_MAD = 1.4826


@dataclass(frozen=True)
class Reference:
    """The counts, and what is usual: median and deviation of bits a character, for documents and for windows."""

    counts: np.ndarray  # [order, slot]
    totals: np.ndarray  # [order, slot] of the context
    kinds: np.ndarray  # [order, slot] of the context: how many characters were seen after it
    usual: np.ndarray  # median and deviation of a document, median and deviation of a window

    def bits(self, text: str) -> np.ndarray:
        """Bits of every character of `text`, given up to three before it; capital letters count as small ones."""
        runs = _runs(text)
        probability = np.full(len(runs[0][0]), _UNSEEN)
        for order, (run, context) in enumerate(runs):
            total, kinds = self.totals[order, context], self.kinds[order, context].astype(np.float64)
            seen = total > 0
            probability = np.where(
                seen, (self.counts[order, run] + kinds * probability) / np.maximum(total + kinds, 1), probability
            )
        return -np.log2(probability)

    def score(self, bits: np.ndarray) -> float:
        """How many deviations a document with these `bits` lies from the median; above 0 is harder to read."""
        return float((bits.mean() - self.usual[0]) / self.usual[1])

    def gibberish(self, bits: np.ndarray) -> tuple[int, int]:
        """Where windows far harder to read than is usual first stand on end, and how many characters most of them hold.

        The middle one of three neighbours counts, so that one name or one number makes no stretch and one common
        word inside it does not end it. (0, 0) where there are none.
        """
        n_windows = len(bits) // WINDOW
        if not n_windows:
            return 0, 0
        means = bits[: n_windows * WINDOW].reshape(n_windows, WINDOW).mean(axis=1)
        hard = means > self.usual[2] + _HARD * self.usual[3]
        if not hard.any():
            return 0, 0
        around = np.pad(hard, 1).astype(np.int8)
        hard = (around[:-2] + around[1:-1] + around[2:]) >= 2
        edges = np.flatnonzero(np.diff(np.pad(hard, 1).astype(np.int8)))
        if not len(edges):
            return 0, 0
        starts, lengths = edges[::2], edges[1::2] - edges[::2]
        first = starts[np.argmax(lengths >= min(_ON_END, lengths.max()))]
        return int(first) * WINDOW, int(lengths.max()) * WINDOW

    def save(self, folder: Path) -> None:
        for name in ("counts", "totals", "kinds", "usual"):
            np.save(folder / f"reference-{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Reference:
        """Open what `save` wrote, memory-mapped: every process sees the same pages."""
        names = ("counts", "totals", "kinds", "usual")
        return cls(*(np.asarray(np.load(folder / f"reference-{name}.npy", mmap_mode="r")) for name in names))


def train_reference(chunks: Sequence[str]) -> Reference | None:
    """Learn from every other chunk and measure what is usual on those between; None when there are too few."""
    measured = [chunk for chunk in chunks[1::2] if len(chunk) >= FEWEST_CHARACTERS]
    if len(measured) < FEWEST_CHUNKS:
        return None
    counts, totals, kinds = (np.zeros((ORDER, SLOTS), np.uint32) for _ in range(3))
    learned = chunks[::2]
    # The break between chunks is a character no text has, so that no run leads over it.
    text = _BREAK.join(learned)
    chunk_of = np.repeat(np.arange(len(learned)), [len(chunk.lower()) + 1 for chunk in learned])[:-1]
    for order, (run, context) in enumerate(_runs(text)):
        in_chunks = np.bincount(np.unique(chunk_of << 20 | run) & (SLOTS - 1), minlength=SLOTS)
        known = in_chunks[run] > 1
        run, context = run[known], context[known]
        counts[order] = np.bincount(run, minlength=SLOTS)
        totals[order] = np.bincount(context, minlength=SLOTS)
        # By run and context together: two runs that share a slot do not take a kind from either context.
        kinds[order] = np.bincount(np.unique(context << 20 | run) >> 20, minlength=SLOTS)
    untold = Reference(counts, totals, kinds, np.array([0.0, 1.0, 0.0, 1.0]))
    documents, windows = [], []
    for chunk in measured:
        bits = untold.bits(chunk)
        documents.append(bits.mean())
        n_windows = len(bits) // WINDOW
        windows.append(bits[: n_windows * WINDOW].reshape(n_windows, WINDOW).mean(axis=1))
    usual = [*_median_and_deviation(np.array(documents)), *_median_and_deviation(np.concatenate(windows))]
    return Reference(counts, totals, kinds, np.array(usual))


def _runs(text: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each order, the slot of the run that ends at each character and the slot of that run's context."""
    # Whoever writes in capitals writes no gibberish. (A handful of letters become two: places shift by as many.)
    characters = np.frombuffer(text.lower().encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    context = np.zeros(len(characters), np.uint64)
    found = []
    for order in range(ORDER):
        run = (context ^ (characters + np.uint64(order))) * _ODD
        run ^= run >> np.uint64(29)
        run *= _ODD
        found.append(((run >> _SHIFT).astype(np.intp), (context >> _SHIFT).astype(np.intp)))
        context = np.concatenate((np.zeros(1, np.uint64), run[:-1]))
    return found


def _median_and_deviation(values: np.ndarray) -> tuple[float, float]:
    median = float(np.median(values))
    # A floor, so that a corpus of equal documents does not make an outlier of a comma.
    return median, max(_MAD * float(np.median(np.abs(values - median))), 0.05)
