from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundup.core.errors import GroundupError
from groundup.data.windows import Windows


def pairs(windows: Windows) -> list[tuple[list[int], list[int]]]:
    return [tuple(part.tolist() for part in windows.window(i)) for i in range(len(windows))]


def plain_windows(tokens: list[int], length: int, stride: int) -> list[tuple[list[int], list[int]]]:
    """The textbook's double loop."""
    found = []
    for start in range(0, len(tokens) - length, stride):
        inputs, targets = [], []
        for t in range(length):
            inputs.append(tokens[start + t])
            targets.append(tokens[start + t + 1])
        found.append((inputs, targets))
    return found


def test_the_textbook_example(make_split) -> None:
    """Context 4, stride 1, over the first tokens of "The Verdict" as GPT-2 encodes them (Raschka, section 2.6)."""
    windows = Windows(make_split([[40, 367, 2885, 1464, 1807, 3619]], eos_at_the_end=False), 4, stride=1)
    assert pairs(windows) == [
        ([40, 367, 2885, 1464], [367, 2885, 1464, 1807]),
        ([367, 2885, 1464, 1807], [2885, 1464, 1807, 3619]),
    ]


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("n", [6, 7, 10, 11, 26])
@pytest.mark.parametrize("per_shard", [1, 4, 1000])
def test_windows_equal_a_double_loop(make_split, stride: int, n: int, per_shard: int) -> None:
    tokens = list(range(n))
    windows = Windows(make_split([tokens], per_shard, eos_at_the_end=False), 5, stride)
    assert pairs(windows) == plain_windows(tokens, 5, stride)
    assert len(windows) > 0


def test_stride_is_the_context_length_unless_said(make_split) -> None:
    windows = Windows(make_split([list(range(10))], eos_at_the_end=False), 3)
    assert [inputs for inputs, _ in pairs(windows)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_rows_are_the_windows(make_split) -> None:
    import numpy as np

    windows = Windows(make_split([list(range(30))], 7), 4, 2)
    inputs, targets, _ = windows.rows(np.array([3, 0, 12]))
    assert inputs.tolist() == [windows.window(i)[0].tolist() for i in (3, 0, 12)]
    assert targets.tolist() == [windows.window(i)[1].tolist() for i in (3, 0, 12)]
    assert inputs.dtype == np.int64


def test_a_corpus_shorter_than_a_window_says_the_numbers(make_split) -> None:
    with pytest.raises(
        GroundupError, match=r"train split has 4 tokens; one window of context_length 8 needs 9.* most 3"
    ):
        Windows(make_split([[1, 2, 3]]), 8)


def test_exactly_one_window(make_split) -> None:
    assert len(Windows(make_split([[1, 2, 3, 4]]), 4)) == 1
    with pytest.raises(GroundupError):
        Windows(make_split([[1, 2, 3]]), 4)


@pytest.mark.parametrize("stride", [0, -1, 5])
def test_a_stride_that_would_skip_text_is_refused(make_split, stride: int) -> None:
    with pytest.raises(GroundupError, match=f"stride {stride} is not between 1 and context_length 4"):
        Windows(make_split([list(range(20))]), 4, stride)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(2, 40), length=st.integers(1, 12), data=st.data())
def test_to_the_end_scores_every_target_once(n: int, length: int, data) -> None:
    stride = data.draw(st.integers(1, length))
    windows = Windows(_Row(n), length, stride, to_the_end=True)
    scored = []
    for i in range(len(windows)):
        targets = windows.window(i)[1].tolist()
        scored += targets[len(targets) - windows.new_targets(i) :]
    assert scored == list(range(1, n))


class _Row:
    """The tokens 0 .. n - 1, without a file."""

    name, n_shards = "validation", 0

    def __init__(self, n: int) -> None:
        self.n_tokens = n

    def read(self, start: int, length: int):
        import numpy as np

        assert start + length <= self.n_tokens
        return np.arange(start, start + length)


def test_a_short_validation_split_is_one_shorter_window(make_split) -> None:
    windows = Windows(make_split([[1, 2, 3]]), 100, to_the_end=True)
    assert pairs(windows) == [([1, 2, 3], [2, 3, 99])]


@settings(max_examples=150, deadline=None)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=6), length=st.integers(1, 6), data=st.data())
def test_crossing_documents_is_known_without_reading(lengths: list[int], length: int, data) -> None:
    """True exactly when some window's positions are of more than one document."""
    import tempfile
    from pathlib import Path

    import numpy as np

    from groundup.data.store import Shard, TokenSplit, write_shard

    tokens = [t for n in lengths for t in [*range(n), 99]]
    stride = data.draw(st.integers(1, length))
    if len(tokens) < length + 1:
        return
    with tempfile.TemporaryDirectory() as folder:
        starts = np.cumsum([0] + [n + 1 for n in lengths])[:-1]
        write_shard(Path(folder) / "a", [np.array(tokens)], np.uint16, starts.tolist())
        windows = Windows(TokenSplit("train", [Shard(Path(folder) / "a")], 0, 99), length, stride, to_the_end=True)
    crossing = any(99 in tokens[windows.start(i) + 1 : windows.start(i) + length] for i in range(len(windows)))
    assert windows.crosses_documents == crossing


def test_without_the_document_mask_a_window_is_one_document(make_split):
    split = make_split([[5, 6, 7], [8, 9], [5, 6, 7, 8]])
    assert Windows(split, 4).crosses_documents
    assert not Windows(split, 4, document_mask=False).crosses_documents
