"""Best-fit packing: whole documents, each token a label once, nothing seen across a border."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groundup.core.errors import GroundupError
from groundup.data.packing import PackedRows, best_fit_decreasing, training_rows
from groundup.data.windows import Windows

EOS = 99


def plain_best_fit(lengths: list[int], capacity: int) -> list[list[int]]:
    """Longest first, each into the fullest row that has room: the rule, one piece at a time."""
    rows: list[list[int]] = []
    for length in sorted(lengths, reverse=True):
        fitting = [row for row in rows if sum(row) + length <= capacity]
        if not fitting:
            rows.append([])
            fitting = [rows[-1]]
        max(fitting, key=sum).append(length)
    return rows


@settings(max_examples=300, deadline=None)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=80), more=st.integers(0, 12))
def test_groups_are_packed_as_one_by_one(lengths: list[int], more: int) -> None:
    capacity = max(lengths) + more
    row_of = best_fit_decreasing(np.array(lengths), capacity)
    rows: dict[int, list[int]] = {}
    for length, row in zip(lengths, row_of.tolist(), strict=True):
        rows.setdefault(row, []).append(length)
    assert sorted(rows) == list(range(len(rows)))
    assert max(map(sum, rows.values())) <= capacity
    # Which of two equally full rows is taken is open; how full the rows become is not.
    assert sorted(map(sum, rows.values())) == sorted(map(sum, plain_best_fit(lengths, capacity)))


def test_the_textbook_case() -> None:
    """7 5 4 3 3 2 into rows of 8: 7 alone, 5 with 3 (not 4 with 3: the fuller row is taken), 4 with 2... and 3 beside."""
    lengths = np.array([3, 5, 7, 2, 4, 3])
    row_of = best_fit_decreasing(lengths, 8)
    rows = sorted(tuple(sorted(lengths[row_of == row].tolist())) for row in range(row_of.max() + 1))
    assert rows == [(2,), (3, 4), (3, 5), (7,)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(0, 23), min_size=1, max_size=12), context=st.integers(1, 10), data=st.data())
def test_every_token_is_a_label_once_and_follows_its_own(make_split, lengths: list[int], context: int, data) -> None:
    documents = [[100 * (d + 1) + i for i in range(n)] for d, n in enumerate(lengths)]
    closed = data.draw(st.booleans()) or lengths[-1] == 0
    split = make_split(documents, data.draw(st.sampled_from([1000, 7])), closed)
    rows = PackedRows(split, context)
    inputs, labels, numbers = rows.rows(np.arange(len(rows)))
    counted = labels != -100
    stream = [t for document in documents for t in [*document, EOS]][: split.n_tokens]
    assert sorted(labels[counted].tolist()) == sorted(stream)
    assert counted.sum() == split.n_tokens
    assert rows.padding == pytest.approx((~counted).mean())
    before = dict(zip(stream[1:], stream[:-1], strict=True)) | {stream[0]: EOS}
    for row in range(len(rows)):
        for position in range(context):
            label, number = labels[row, position], numbers[row, position]
            if label == -100:
                assert inputs[row, position] == EOS
                assert number not in numbers[row][counted[row]]
                continue
            if label != EOS:
                assert inputs[row, position] == before[label]
            if position and numbers[row, position - 1] == number:
                assert inputs[row, position] == labels[row, position - 1]  # within a piece the text runs on
            else:
                started = label == EOS or label % 100 % context == 0  # a document's beginning, or a piece of a long one
                assert started


def test_a_document_that_fits_is_never_cut(make_split) -> None:
    draw = np.random.default_rng(0)
    lengths = draw.integers(1, 16, 200)  # with its end of text at most 16
    split = make_split([[1000 + d] * n for d, n in enumerate(lengths.tolist())])
    rows = PackedRows(split, 16)
    _, labels, numbers = rows.rows(np.arange(len(rows)))
    assert rows.n_cut_documents == 0
    assert rows.n_pieces == 200
    assert rows.padding < 0.06
    for d, n in enumerate(lengths.tolist()):
        at = np.argwhere(labels == 1000 + d)
        assert len(at) == n
        assert len({(row, numbers[row, column]) for row, column in at.tolist()}) == 1


def test_rows_do_not_depend_on_the_company_they_are_asked_in(make_split) -> None:
    split = make_split([list(range(100 * d, 100 * d + n)) for d, n in enumerate([3, 9, 1, 14, 6, 2, 8], start=1)], 5)
    rows = PackedRows(split, 6)
    together = rows.rows(np.arange(len(rows)))
    for row in range(len(rows)):
        for part, alone in zip(together, rows.rows(np.array([row])), strict=True):
            assert part[row].tolist() == alone[0].tolist()
    assert sum(n for row in range(len(rows)) for _, n in rows.pieces(row)) == split.n_tokens


def test_the_first_document_begins_from_an_end_of_text(make_split) -> None:
    rows = PackedRows(make_split([[5, 6], [7]]), 6)
    inputs, labels, numbers = (part[0].tolist() for part in rows.rows(np.array([0])))
    assert (inputs, labels) == ([EOS, 5, 6, EOS, 7, EOS], [5, 6, EOS, 7, EOS, -100])
    assert numbers == [0, 0, 0, 1, 1, 2]


def test_the_way_of_reading_is_chosen_by_name(make_split) -> None:
    split = make_split([[1, 2, 3], [4, 5, 6, 7]])
    assert isinstance(training_rows(split, 4, packing="best-fit"), PackedRows)
    windows, joined = (training_rows(split, 4, packing=name, stride=2) for name in ("windows", "concatenate"))
    assert isinstance(windows, Windows)
    assert (windows.stride, windows.crosses_documents, joined.crosses_documents) == (2, True, False)
    with pytest.raises(GroundupError, match="stride 2 has no effect"):
        training_rows(split, 4, packing="best-fit", stride=2)
    with pytest.raises(GroundupError, match=r"'tight'.*best-fit"):
        training_rows(split, 4, packing="tight")
    with pytest.raises(GroundupError, match="no tokens to pack"):
        PackedRows(make_split([], eos_at_the_end=True), 4)


def test_a_million_documents_are_packed_in_seconds() -> None:
    lengths = np.minimum(np.random.default_rng(0).lognormal(4.5, 1.2, 1_000_000).astype(np.int32) + 1, 1024)
    began = time.perf_counter()
    row_of = best_fit_decreasing(lengths, 1024)
    assert time.perf_counter() - began < 10
    filled = np.bincount(row_of, lengths)
    assert filled.max() <= 1024
    assert filled.mean() > 0.999 * 1024
