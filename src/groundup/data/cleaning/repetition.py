"""How much of a document repeats itself: Gopher's figures (Rae et al. 2021, table A1).

The one idea: words become numbers and every run of n words one hash, so that all runs of a length are counted by one
sort. The share of the commonest run counts every place where it stands, when it stands more than once. The share of
repeated runs counts each character once, and the place where a run stands first not at all (the paper says only
"duplicate"; this is how lines and paragraphs are counted too). A run of n + 1 words can only repeat where a run of n
does, so the longer ones look at what the shorter ones left.

The paper asks for 50 words first; below that the figures on words say little and are not measured.
"""

from __future__ import annotations

import numpy as np

from groundup.data.cleaning.figures import Measured, repeated_characters, repeated_parts

FEWEST_WORDS = 50
_TOP = (2, 3, 4)
_REPEATED = (5, 6, 7, 8, 9, 10)
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: Fibonacci hashing, Knuth, volume 3, 6.4


def repetition(measured: Measured) -> dict[str, float]:
    """The shares of lines, paragraphs and runs of words that stand more than once."""
    lines, paragraphs = measured.lines, measured.paragraphs
    figures = {
        "duplicate_lines": repeated_parts(lines),
        "duplicate_line_characters": repeated_characters(lines),
        "duplicate_paragraphs": repeated_parts(paragraphs),
        "duplicate_paragraph_characters": repeated_characters(paragraphs),
    }
    words = measured.words
    if not measured.is_spaced or len(words) < FEWEST_WORDS:
        return figures
    number = {word: index for index, word in enumerate(measured.vocabulary)}
    ids = np.fromiter(map(number.__getitem__, words), np.uint64, len(words))
    lengths = np.fromiter(map(len, number), np.int64, len(number))[ids.astype(np.intp)]
    total = int(lengths.sum())
    ends = np.concatenate(([0], np.cumsum(lengths)))

    runs = _mixed(ids)
    for n in range(2, max(_TOP) + 1):
        runs = _longer(runs, ids, n)
        figures[f"top_{n}_gram"] = _top_share(runs, ends, n) / total

    # From here only the places whose shorter run repeats: in most texts they are few.
    places = np.arange(len(runs))
    for n in range(max(_TOP) + 1, max(_REPEATED) + 1):
        fits = places + n <= len(ids)
        places, runs = places[fits], runs[fits]
        runs = _mixed(runs ^ (ids[places + n - 1] + np.uint64(n)))
        kept = _of_repeated(runs)
        places, runs = places[kept], runs[kept]
        figures[f"duplicate_{n}_grams"] = _covered(places, runs, n, ends) / total
    return figures


def _mixed(values: np.ndarray) -> np.ndarray:
    values = values * _ODD
    return (values ^ (values >> np.uint64(32))) * _ODD


def _longer(runs: np.ndarray, ids: np.ndarray, n: int) -> np.ndarray:
    return _mixed(runs[: len(ids) - n + 1] ^ (ids[n - 1 :] + np.uint64(n)))


def _top_share(runs: np.ndarray, ends: np.ndarray, n: int) -> int:
    """Characters in all places of the commonest run; of equally common ones, the longest."""
    _, first, counts = np.unique(runs, return_index=True, return_counts=True)
    most = counts.max()
    if most < 2:
        return 0
    starts = first[counts == most]
    return int((ends[starts + n] - ends[starts]).max() * most)


def _of_repeated(runs: np.ndarray) -> np.ndarray:
    """Which places hold a run that stands elsewhere too."""
    if not len(runs):
        return np.zeros(0, bool)
    _, inverse, counts = np.unique(runs, return_inverse=True, return_counts=True)
    return counts[inverse] > 1


def _covered(places: np.ndarray, runs: np.ndarray, n: int, ends: np.ndarray) -> int:
    """Characters of the words that lie in a run seen earlier."""
    if not len(places):
        return 0
    later = np.ones(len(places), bool)
    later[np.unique(runs, return_index=True)[1]] = False
    starts = places[later]
    change = np.zeros(len(ends), np.int64)
    np.add.at(change, starts, 1)
    np.add.at(change, starts + n, -1)
    inside = np.cumsum(change[:-1]) > 0
    return int(np.diff(ends)[inside].sum())
