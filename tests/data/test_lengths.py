"""How long documents are and how many a context cuts: counted, and held against the windows themselves."""

from __future__ import annotations

import numpy as np
import pytest

from groundup.data.cuts import said_cuts
from groundup.data.lengths import document_lengths, n_cut_by_windows, n_longer, summarize_lengths
from groundup.data.packing import training_rows
from groundup.data.windows import Windows


def texts(lengths: list[int]) -> list[list[int]]:
    """Documents of that many tokens before their end of text, every token another."""
    return [[1000 * (d + 1) + i for i in range(n)] for d, n in enumerate(lengths)]


def test_lengths_count_the_end_of_text_and_ignore_shards(make_split) -> None:
    for per_shard in (1000, 4):
        assert document_lengths(make_split(texts([3, 0, 10, 1]), per_shard)).tolist() == [4, 1, 11, 2]
    assert document_lengths(make_split(texts([3, 2]), eos_at_the_end=False)).tolist() == [4, 2]
    assert n_longer(np.array([4, 1, 11, 2]), 4) == 1


def test_the_summary_has_every_document_once() -> None:
    found = summarize_lengths(np.array([1, 2, 3, 4, 7, 8, 40]))
    assert found.histogram == ((1, 1, 1), (2, 3, 2), (4, 7, 2), (8, 15, 1), (16, 31, 0), (32, 63, 1))
    assert (found.n_documents, found.n_tokens, found.shortest, found.median, found.longest) == (7, 65, 1, 4, 40)
    assert found.mean == pytest.approx(65 / 7)
    assert summarize_lengths(np.empty(0, np.int64)).histogram == ()


@pytest.mark.parametrize("stride", [1, 3, 8])
@pytest.mark.parametrize("seed", range(4))
def test_cut_documents_are_those_no_window_shows_whole(make_split, stride: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(0, 12, 15).tolist()
    split = make_split(texts(lengths))
    windows = Windows(split, 8, stride)
    shown = [[*inputs.tolist()[:1], *targets.tolist()] for inputs, targets in map(windows.window, range(len(windows)))]
    n_cut, start = 0, 0
    stream = split.read(0, split.n_tokens).tolist()
    for n in lengths:
        document = stream[start : start + n + 1]
        # Whole: all of it are targets of one window (the text's very first token is never a target, only an input).
        places = [place for row in shown for place in range(9) if row[place : place + n + 1] == document]
        if not any(place > 0 or start == 0 for place in places):
            n_cut += 1
        start += n + 1
    if all(lengths):  # an empty document is an end of text like any other, and cannot be told from it here
        assert n_cut_by_windows(split, 8, stride) == n_cut


def test_what_is_said_of_each_way_of_reading(make_split) -> None:
    split = make_split(texts([3, 3, 20, 3, 5]))  # 39 tokens
    said = {name: said_cuts(training_rows(split, 8, packing=name)) for name in ("windows", "best-fit", "concatenate")}
    assert said["windows"] == said["concatenate"]
    assert "4 windows of 8 tokens; their borders cut 2 of 5 documents (1 is longer than a window)" in said["windows"]
    assert "the last 6 tokens are left out" in said["windows"]
    assert said["best-fit"] == (
        "5 documents packed into 6 rows of 8 tokens, 18.8% of them empty; 1 is longer than a row and is read in pieces"
    )
    assert "none is cut" in said_cuts(training_rows(split, 32, packing="best-fit"))
    assert "one every 2" in said_cuts(training_rows(split, 8, stride=2))
