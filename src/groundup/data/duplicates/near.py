"""Documents that are almost an earlier one.

One idea: MinHash finds, the sets decide. A document is the set of its runs of five words; two documents are near when the
sets' Jaccard similarity (shared over all) reaches the threshold. Signatures (Broder 1997, On the resemblance and
containment of documents), made by the library `rensa`, are cut into bands, and documents that agree on a band are
candidates (Indyk and Motwani 1998). Each candidate is then compared by the sets themselves: of every kept document the
smallest 512 hashes are remembered, so the similarity is exact for documents of up to 512 runs, and beyond an estimate
from 512 sampled members of the union or more (Broder's sketch; standard error 0.018 at similarity 0.8).

What can go wrong, then: a near document is missed when it agrees with the earlier one on no band, less than once in a
hundred at the threshold and far more rarely above it (`NearSettings.recall_at`); or, long documents only, when the
estimate errs. Among short documents nothing is called near that is not (as the hashes have 32 bits, about once in
10,000 comparisons a similarity is off by one run).

Documents with fewer words than a run are one run, so they are near only when all their words are equal. Those without
any word (empty, or nothing but symbols) are never near: that is for `exact` to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from groundup.core.errors import GroundupError, missing_extra
from groundup.data.duplicates.hashing import Stretches, mix
from groundup.data.duplicates.table import NONE, HashTable
from groundup.data.duplicates.words import hash_words, runs

_LEAST_RECALL = 0.99  # at the threshold
_BATCH_CHARACTERS = 1 << 21
_BATCH_DOCUMENTS = 1 << 13
_HASH_BITS = np.uint64(51)  # the other 13 bits are for the number of a document in its batch


@dataclass(frozen=True)
class NearSettings:
    """When two documents are near: `threshold` on the Jaccard similarity of their runs of `words` words.

    `n_permutations` is the length of a signature; how it is cut into bands follows from it and the threshold. `seed`
    makes the signature: with another one, other near documents are among the hundredth that is missed. `sketch_size` is the
    number of hashes remembered of a long document.
    """

    threshold: float = 0.8
    n_permutations: int = 128
    words: int = 5
    seed: int = 0
    sketch_size: int = 512

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise GroundupError(f"threshold is {self.threshold}; a Jaccard similarity lies above 0 and up to 1")
        for name, least in (("n_permutations", 16), ("words", 1), ("seed", 0), ("sketch_size", 16)):
            if getattr(self, name) < least:
                raise GroundupError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if self.recall_at(self.threshold) < _LEAST_RECALL:
            raise GroundupError(
                f"with n_permutations {self.n_permutations}, {self.recall_at(self.threshold):.1%} of the documents at "
                f"threshold {self.threshold} would be found, less than {_LEAST_RECALL:.0%}; give more permutations or a "
                "higher threshold"
            )

    @property
    def bands(self) -> tuple[int, int]:
        """How many bands, of how many permutations each: the longest bands that still find 99 % at the threshold."""
        for rows in range(self.n_permutations, 0, -1):
            n_bands = self.n_permutations // rows
            if _found(self.threshold, n_bands, rows) >= _LEAST_RECALL:
                return n_bands, rows
        return self.n_permutations, 1

    def recall_at(self, similarity: float) -> float:
        """The share of document pairs of this similarity that become candidates: 1 - (1 - s^rows)^bands."""
        return _found(similarity, *self.bands)


def _found(similarity: float, n_bands: int, rows: int) -> float:
    return 1 - (1 - similarity**rows) ** n_bands


@dataclass(frozen=True)
class Near:
    """An earlier document that was kept, by its number, and how similar it is."""

    of: int
    similarity: float


class NearDuplicates:
    """Remembers the documents that were near none before them.

    Memory for each kept document, with the default settings: 21 bands at 14 to 21 bytes, 4 bytes for each run of words
    but at most 2 kB, and 50 more. A million documents of 84 words take 0.7 GB, 1 GB while the table grows; 100 million
    take 70 GB, 100 while it grows: where a machine has less, compare within parts of the corpus. Documents that are not
    kept cost 8 bytes.

    A band's hash leads to the first kept document that had it. So time does not depend on how alike the corpus is (a
    document is compared with at most one for each band), at a price in corpora of one template: where any two documents
    agree by 0.76, 95 % of those that agree by 0.85 with another are found; by 0.62, 99 %.
    """

    def __init__(self, settings: NearSettings = NearSettings()) -> None:
        self.settings = settings
        self._minhash = _minhash_library()
        self._table = HashTable()
        self._sketches: list[bytes | None] = []

    @property
    def n_bytes(self) -> int:
        """What is remembered, in bytes."""
        sketches = sum(33 + len(sketch) for sketch in self._sketches if sketch is not None)
        return self._table.n_bytes + sketches + 8 * len(self._sketches)

    def first_of_many(self, texts: Sequence[str]) -> list[Near | None]:
        """For each text the most similar earlier document that was kept (of equals the first), if near; else None, and
        it is kept. Documents are numbered from 0 in the order they come; how they are dealt into calls changes nothing.
        """
        return [near for batch in _batches(texts) for near in self._first_of_batch(batch)]

    def _first_of_batch(self, texts: Sequence[str]) -> list[Near | None]:
        shingles, bounds = _shingles(texts, self.settings.words)
        keys = self._band_keys(shingles, bounds)
        known = self._table.find(keys.ravel()).reshape(keys.shape)
        groups = np.where(known == NONE, _groups(keys), -1)
        owners: dict[int, int] = {}  # of a new band hash that several texts of this batch share: the first kept one
        kept: list[int] = []  # rows
        found: list[Near | None] = []
        base = len(self._sketches)
        for row, (begin, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
            some = shingles[begin : min(end, begin + self.settings.sketch_size)]
            sketch = (some >> np.uint64(32)).astype(np.uint32)
            shared = [group for group in groups[row].tolist() if group >= 0]
            candidates = {number for number in known[row].tolist() if number != NONE}
            candidates.update(owners[group] for group in shared if group in owners)
            near = self._nearest(sketch, sorted(candidates)) if len(sketch) else None
            is_kept = near is None and len(sketch) > 0
            if is_kept:
                kept.append(row)
                for group in shared:
                    owners.setdefault(group, base + row)
            self._sketches.append(sketch.tobytes() if is_kept else None)
            found.append(near)
        numbers = np.repeat(np.array(kept, np.uint32) + np.uint32(base), keys.shape[1])
        self._table.add(keys[kept].ravel(), numbers)
        return found

    def _band_keys(self, shingles: np.ndarray, bounds: np.ndarray) -> np.ndarray:
        """(documents, bands) uint64: the hash of each band of each signature, and of which band it is."""
        n_bands, rows = self.settings.bands
        matrix = self._minhash.digest_matrix_from_flat_token_hashes(
            mix(shingles), bounds.astype(np.uint64), self.settings.n_permutations, self.settings.seed
        )
        signatures = np.array(matrix.to_rows(), np.uint64)[:, : n_bands * rows].reshape(-1, n_bands, rows)
        keys = np.broadcast_to(mix(np.arange(n_bands, dtype=np.uint64)), signatures.shape[:2])
        for row in range(rows):
            keys = mix(keys ^ signatures[:, :, row])
        return keys

    def _nearest(self, sketch: np.ndarray, candidates: list[int]) -> Near | None:
        best = None
        for number in candidates:
            other = np.frombuffer(self._sketches[number] or b"", np.uint32)
            similarity = sketch_similarity(sketch, other, self.settings.sketch_size)
            if similarity >= self.settings.threshold and (best is None or similarity > best.similarity):
                best = Near(number, similarity)
        return best


def sketch_similarity(one: np.ndarray, other: np.ndarray, size: int) -> float:
    """The Jaccard similarity of two sets of hashes, of each of which the `size` smallest are given, sorted (uint32).

    A sketch shorter than `size` is the whole set; otherwise nothing is known beyond its largest, and both are compared
    up to there.
    """
    limit = min([sketch[-1] for sketch in (one, other) if len(sketch) >= size], default=NONE)
    one, other = (sketch[: np.searchsorted(sketch, limit, side="right")] for sketch in (one, other))
    n_shared = int((other[np.minimum(np.searchsorted(other, one), len(other) - 1)] == one).sum())
    return n_shared / (len(one) + len(other) - n_shared)


def _shingles(texts: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray]:
    """The sets of runs of all texts: distinct hashes in order, and where each text's begin."""
    assert len(texts) <= _BATCH_DOCUMENTS
    words = hash_words(texts)
    starts, ends, counts = runs(words.bounds, length)
    hashes = Stretches(words.hashes).hashes(starts, ends)
    # Document and hash in one number, so that one plain sort (many times as fast as one of pairs) does it.
    documents = np.repeat(np.arange(len(texts), dtype=np.uint64), counts)
    both = (documents << _HASH_BITS) | (hashes >> (np.uint64(64) - _HASH_BITS))
    both.sort()
    # Compared as they are remembered, by 32 bits: two runs that share these would be one member of the set twice.
    remembered = both >> (_HASH_BITS - np.uint64(32))
    both = both[np.concatenate([[True], remembered[1:] != remembered[:-1]])[: len(both)]]
    counts = np.bincount((both >> _HASH_BITS).astype(np.int64), minlength=len(texts))
    return both << (np.uint64(64) - _HASH_BITS), np.concatenate([[0], np.cumsum(counts)])


def _groups(keys: np.ndarray) -> np.ndarray:
    """(documents, bands): the number of the group of equal keys an entry belongs to, -1 where it is alone."""
    _, inverse, counts = np.unique(keys.ravel(), return_inverse=True, return_counts=True)
    return np.where(counts[inverse] > 1, inverse, -1).reshape(keys.shape)


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and (size + len(text) > _BATCH_CHARACTERS or len(batch) == _BATCH_DOCUMENTS):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch


def _minhash_library() -> Any:
    try:
        from rensa import RMinHash  # pyright: ignore
    except ImportError:
        raise missing_extra("rensa", "clean", "finding near duplicates") from None
    return RMinHash
