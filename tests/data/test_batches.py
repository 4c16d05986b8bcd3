from __future__ import annotations

import numpy as np
import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.data.batches import Batch, EvaluationBatches, TrainingBatches
from groundup.data.packing import PackedRows
from groundup.data.windows import Windows


def rows_of(batches: list[Batch]) -> list[list[int]]:
    return torch.cat([batch.tokens_BT for batch in batches]).tolist()


@pytest.fixture
def windows(make_split) -> Windows:
    return Windows(make_split([list(range(200, 200 + 61))], 13), 3)  # 20 windows


def test_labels_are_the_tokens_that_follow(windows: Windows) -> None:
    (batch,) = TrainingBatches(windows, batch_size=4, micro_batch_size=4, seed=0)(0)
    assert batch.tokens_BT.shape == batch.labels_BT.shape == (4, 3)
    assert batch.tokens_BT.dtype == batch.labels_BT.dtype == torch.int64
    assert torch.equal(batch.labels_BT, batch.tokens_BT + 1)
    assert batch.n_targets == 12


def test_an_epoch_reads_every_window_once(windows: Windows) -> None:
    batches = TrainingBatches(windows, batch_size=4, micro_batch_size=2, seed=1)
    assert batches.steps_per_epoch == 5
    for epoch in range(3):
        firsts = [row[0] for step in range(5 * epoch, 5 * epoch + 5) for row in rows_of(batches(step))]
        assert sorted(firsts) == list(range(200, 260, 3))


def test_epochs_that_end_inside_a_step_are_exact_too(windows: Windows) -> None:
    """20 windows in steps of 6: after 10 steps every window was read exactly three times."""
    batches = TrainingBatches(windows, batch_size=6, micro_batch_size=6, seed=1)
    firsts = [row[0] for step in range(10) for row in rows_of(batches(step))]
    assert all(sorted(firsts[20 * e : 20 * e + 20]) == list(range(200, 260, 3)) for e in range(3))
    assert 10 / batches.steps_per_epoch == pytest.approx(3)


def test_a_batch_larger_than_the_corpus(windows: Windows) -> None:
    firsts = [row[0] for row in rows_of(TrainingBatches(windows, batch_size=60, micro_batch_size=20, seed=1)(0))]
    assert np.unique(firsts, return_counts=True)[1].tolist() == [3] * 20


def test_a_step_is_a_pure_function_of_seed_and_step(windows: Windows) -> None:
    one, other = (TrainingBatches(windows, batch_size=6, micro_batch_size=3, seed=5) for _ in range(2))
    straight = [rows_of(one(step)) for step in range(9)]
    assert [rows_of(other(step)) for step in (8, 2, 5, 0, 3)] == [straight[step] for step in (8, 2, 5, 0, 3)]
    assert rows_of(TrainingBatches(windows, batch_size=6, micro_batch_size=3, seed=6)(0)) != straight[0]


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("micro_batch_size", [1, 2])
def test_ranks_share_the_same_global_batch(windows: Windows, world_size: int, micro_batch_size: int) -> None:
    alone = TrainingBatches(windows, batch_size=8, micro_batch_size=8, seed=2)
    ranks = [
        TrainingBatches(
            windows, batch_size=8, micro_batch_size=micro_batch_size, seed=2, rank=rank, world_size=world_size
        )
        for rank in range(world_size)
    ]
    for step in (0, 1, 2, 17):
        assert [row for rank in ranks for row in rows_of(rank(step))] == rows_of(alone(step))


def test_sizes_that_do_not_divide_are_refused_with_numbers(windows: Windows) -> None:
    with pytest.raises(GroundupError, match="batch_size 8 cannot be shared equally among 3"):
        TrainingBatches(windows, batch_size=8, micro_batch_size=1, seed=0, world_size=3)
    with pytest.raises(GroundupError, match="micro_batch_size 3 does not divide the 4 rows"):
        TrainingBatches(windows, batch_size=8, micro_batch_size=3, seed=0, world_size=2)


def test_document_ids_count_the_ends_of_text_read(make_split) -> None:
    windows = Windows(make_split([[1, 2], [3], [4, 5, 6]]), 8)
    (batch,) = TrainingBatches(windows, batch_size=1, micro_batch_size=1, seed=0)(0)
    assert batch.tokens_BT.tolist() == [[1, 2, 99, 3, 99, 4, 5, 6]]
    assert batch.labels_BT.tolist() == [[2, 99, 3, 99, 4, 5, 6, 99]]  # no target is lost
    assert batch.document_ids_BT is not None
    assert batch.document_ids_BT.tolist() == [[0, 0, 1, 1, 2, 2, 2, 2]]


def test_no_document_ids_where_no_window_crosses_a_border(make_split) -> None:
    one = Windows(make_split([list(range(20))]), 4)
    aligned = Windows(make_split([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), 4)  # every end of text is a window's last input
    for windows in (one,):
        assert TrainingBatches(windows, batch_size=1, micro_batch_size=1, seed=0)(0)[0].document_ids_BT is None
    assert aligned.crosses_documents  # a last input that is an end of text is the next document's


def test_evaluation_scores_every_target_once_in_batches_of_one_shape(make_split) -> None:
    windows = Windows(make_split([list(range(100, 124))], 5, eos_at_the_end=False), 5, to_the_end=True)
    batches = EvaluationBatches(windows, micro_batch_size=3)
    found = list(batches)
    assert len(batches) == len(found) == 2
    assert {batch.tokens_BT.shape for batch in found} == {(3, 5)}
    labels = torch.cat([batch.labels_BT for batch in found])
    assert labels[labels != -100].tolist() == list(range(101, 124))
    assert sum(batch.n_targets for batch in found) == 23
    assert [row for row in torch.cat([batch.tokens_BT for batch in found]).tolist()][4] == [118, 119, 120, 121, 122]


def test_evaluation_can_be_kept_short_and_spreads_over_the_split(make_split) -> None:
    windows = Windows(make_split([list(range(1000))]), 10, to_the_end=True)
    batches = EvaluationBatches(windows, micro_batch_size=2, max_tokens=50)
    firsts = [batch.tokens_BT[:, 0].tolist() for batch in batches]
    assert sum(batch.n_targets for batch in batches) == 50
    assert firsts[0][0] == 0
    assert firsts[-1][0] == 800
    assert next(iter(EvaluationBatches(windows, 2, max_tokens=1))).n_targets == 10


def test_to_moves_all_of_it(make_split) -> None:
    windows = Windows(make_split([[1, 2], [3, 4]]), 4)
    (batch,) = TrainingBatches(windows, batch_size=1, micro_batch_size=1, seed=0)(0)
    moved = batch.to("meta")
    assert moved.document_ids_BT is not None
    assert {moved.tokens_BT.device.type, moved.labels_BT.device.type, moved.document_ids_BT.device.type} == {"meta"}


@pytest.mark.parametrize("micro_batch_size", [1, 2])
def test_blotting_out_a_label_leaves_the_inputs_alone(make_split, micro_batch_size: int) -> None:
    """A single row is contiguous as it is cut, so inputs and labels once shared their memory."""
    split = make_split([list(range(1, 12))], eos_at_the_end=False)
    batches = list(EvaluationBatches(Windows(split, 4, to_the_end=True), micro_batch_size))
    assert any((batch.labels_BT == -100).any() for batch in batches)
    assert all((batch.tokens_BT > 0).all() for batch in batches)


# --- mixtures


@pytest.fixture
def sources(make_split) -> list[Windows | PackedRows]:
    """Three sources whose tokens tell which they are: 100s, 200s, 300s; windows, packed, windows."""
    first = Windows(make_split([list(range(100, 161))], 13), 3)
    second = PackedRows(
        make_split([list(range(200 + 10 * d, 200 + 10 * d + n)) for d, n in enumerate([2, 5, 1, 4])]), 3
    )
    third = Windows(make_split([list(range(300, 331)), list(range(340, 350))]), 3)
    return [first, second, third]


def source_rows(batches: list) -> list[tuple[list[int], list[int], list[int]]]:
    return [
        row
        for batch in batches
        for row in zip(batch.tokens_BT.tolist(), batch.labels_BT.tolist(), batch.document_ids_BT.tolist(), strict=True)
    ]


def test_a_mixture_holds_each_source_by_its_share_and_each_row_once_an_epoch(sources) -> None:
    batches = TrainingBatches(sources, batch_size=8, micro_batch_size=8, seed=1, parts=(5, 2, 3))
    n_steps = 40
    found = [batches.row_indices(step) for step in range(n_steps)]
    of_source, rows = (np.concatenate([each[k] for each in found]) for k in (0, 1))
    assert np.bincount(of_source).tolist() == [160, 64, 96]
    for source, rows_of_source in enumerate(sources):
        mine, n = rows[of_source == source], len(rows_of_source)
        epochs = [mine[i : i + n].tolist() for i in range(0, len(mine) - n + 1, n)]
        assert len(epochs) >= 2
        assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
        assert epochs[0] != epochs[1]
    assert not (of_source[1:] == of_source[:-1]).any()
    for progress, n, source in zip(batches.progress(n_steps), [160, 64, 96], sources, strict=True):
        assert (progress.rows, progress.epochs) == (n, n / len(source))
    assert batches.progress(n_steps)[0].tokens == 160 * 3
    packed = sources[1]
    assert batches.progress(n_steps)[1].tokens == round(64 * packed.split.n_tokens / len(packed))


def test_the_rows_of_a_mixture_are_those_of_its_sources(sources) -> None:
    batches = TrainingBatches(sources, batch_size=10, micro_batch_size=5, seed=1, parts=(5, 2, 3))
    for step in (0, 3):
        of_source, rows = batches.row_indices(step)
        for (inputs, labels, ids), source, row in zip(source_rows(batches(step)), of_source, rows, strict=True):
            wanted = sources[source].rows(np.array([row]))
            assert (inputs, labels) == (wanted[0][0].tolist(), wanted[1][0].tolist())
            assert np.diff(ids).tolist() == np.diff(wanted[2][0]).tolist()
            assert {token // 100 for token in labels if token not in (99, -100)} <= {source + 1}


@pytest.mark.parametrize("drop_tokens", [0, 2])
def test_however_a_mixture_is_cut_its_rows_are_the_same(sources, drop_tokens: int) -> None:
    def rows(step: int, **cut: int):
        batches = TrainingBatches(sources, batch_size=8, seed=5, parts=(1, 4, 2), drop_tokens=drop_tokens, **cut)
        return source_rows(batches(step))

    for step in (0, 11, 2):
        whole = rows(step, micro_batch_size=8)
        assert whole == rows(step, micro_batch_size=1)
        assert whole == [row for rank in range(2) for row in rows(step, micro_batch_size=4, rank=rank, world_size=2)]
        assert whole == [row for rank in range(8) for row in rows(step, micro_batch_size=1, rank=rank, world_size=8)]


def test_sources_of_equal_size_are_read_in_different_orders(make_split) -> None:
    twins = [Windows(make_split([list(range(100 * k, 100 * k + 61))]), 3) for k in (1, 2)]
    batches = TrainingBatches(twins, batch_size=40, micro_batch_size=40, seed=1, parts=(1, 1))
    of_source, rows = batches.row_indices(0)
    assert rows[of_source == 0].tolist() != rows[of_source == 1].tolist()
    alone = TrainingBatches(twins[0], batch_size=20, micro_batch_size=20, seed=1)
    assert rows[of_source == 0].tolist() == alone.row_indices(0)[1].tolist()
