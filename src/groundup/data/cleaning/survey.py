"""The first look: what only the whole corpus can tell about a document.

The one idea: one pass, one process, bounded memory: how many documents there are, which lines stand in many of them, an
even sample for the reference model to learn from, and in how many samples each word stands.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from groundup.core.files import read_json, write_json
from groundup.data.cleaning.documents import Corpus
from groundup.data.cleaning.lines import SHARE_OF_DOCUMENTS, LineCounts
from groundup.data.cleaning.reference import Reference, train_reference

CHUNK = 4096
SAMPLE_CHARACTERS = 4_000_000

_NUMBERS = "survey.json"

NEEDS = {"boilerplate", "perplexity", "gibberish"}


@dataclass(frozen=True)
class Survey:
    """`frequent_lines` and `reference` lie in a folder too, where worker processes find them."""

    n_documents: int
    frequent_lines: np.ndarray
    reference: Reference | None
    sample_words: Counter[str]  # word -> number of sampled chunks that hold it
    n_sampled: int


def survey(
    corpus: Corpus,
    groups: Collection[str],
    folder: Path,
    *,
    boilerplate_documents: int,
    seed: int,
    advance: Callable[[float], None],
) -> Survey:
    """Read the corpus once and write into `folder` what `load_survey` and `load_findings` read."""
    counts = LineCounts(folder)
    chance = random.Random(seed)
    share = min(1.0, SAMPLE_CHARACTERS / max(1, sum(_likely_characters(s.n_bytes, str(s)) for s in corpus.sources)))
    chunks: list[str] = []
    held = n_documents = 0
    for document in corpus.documents(advance):
        n_documents += 1
        if "boilerplate" in groups:
            counts.add(document.text)
        if {"perplexity", "gibberish"} & set(groups):
            for start in range(0, len(document.text), CHUNK):
                if chance.random() < share and held < 2 * SAMPLE_CHARACTERS:
                    chunks.append(document.text[start : start + CHUNK])
                    held += len(chunks[-1])
    # Chunks in a row are of one document: shuffled, the half that is learned from and the other are alike.
    chance.shuffle(chunks)
    reference = train_reference(chunks)
    if reference is not None:
        reference.save(folder)
    fewest = max(boilerplate_documents, round(SHARE_OF_DOCUMENTS * n_documents))
    lines = counts.frequent(fewest) if "boilerplate" in groups else np.zeros(0, np.uint64)
    np.save(folder / "frequent-lines.npy", lines)
    words: Counter[str] = Counter()
    for chunk in chunks:
        words.update(set(chunk.split()))
    write_json(folder / _NUMBERS, {"n_documents": n_documents, "n_sampled": len(chunks), "sample_words": words})
    return Survey(n_documents, lines, reference, words, len(chunks))


def load_survey(folder: Path) -> Survey:
    """What `survey` wrote into `folder`."""
    numbers = read_json(folder / _NUMBERS)
    return Survey(
        numbers["n_documents"], *load_findings(folder), Counter(numbers["sample_words"]), numbers["n_sampled"]
    )


def load_findings(folder: Path) -> tuple[np.ndarray, Reference | None]:
    """The frequent lines and the reference model that a survey left in `folder`, memory-mapped."""
    lines = folder / "frequent-lines.npy"
    frequent = np.load(lines, mmap_mode="r") if lines.exists() else np.zeros(0, np.uint64)
    return frequent, Reference.load(folder) if (folder / "reference-counts.npy").exists() else None


def _likely_characters(n_bytes: int, name: str) -> int:
    """Compressed text holds about three times the characters that the file has bytes."""
    return n_bytes * (3 if name.endswith((".gz", ".parquet", ".zst", ".bz2", ".xz")) else 1)
