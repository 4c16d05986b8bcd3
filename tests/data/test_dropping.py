"""Dropped tokens are gone as if the text had never held them, and which ones is known from seed and row alone."""

from __future__ import annotations

import numpy as np
import pytest

from groundup.data.batches import TrainingBatches
from groundup.data.dropping import drop_tokens
from groundup.data.packing import PackedRows
from groundup.data.windows import Windows

EOS = 99


def dropped(rows, numbers: np.ndarray, most: int = 3, seed: int = 0):
    indices = np.arange(len(rows))
    return drop_tokens(*rows.rows(indices), numbers=numbers, most=most, seed=seed, eos_id=EOS)


def segments(inputs: np.ndarray, labels: np.ndarray, numbers: np.ndarray) -> list[list[int]]:
    """The text of each segment of one row: its first input, then its labels; ends of text that carry no label are room."""
    found: dict[int, list[int]] = {}
    for token, label, number in zip(inputs.tolist(), labels.tolist(), numbers.tolist(), strict=True):
        if label != -100:
            found.setdefault(number, [token]).append(label)
    return list(found.values())


@pytest.mark.parametrize("kind", ["windows", "best-fit"])
def test_what_is_left_is_the_text_without_the_dropped_tokens(make_split, kind: str) -> None:
    split = make_split([list(range(100 * d, 100 * d + n)) for d, n in enumerate([13, 5, 30, 2, 9, 21, 1, 7], start=1)])
    rows = Windows(split, 12) if kind == "windows" else PackedRows(split, 12)
    before = rows.rows(np.arange(len(rows)))
    after = dropped(rows, np.arange(len(rows)) + 1000)
    n_dropped = []
    for row in range(len(rows)):
        old, new = segments(*(part[row] for part in before)), segments(*(part[row] for part in after))
        assert len(old) == len(new)
        gone = 0
        for text, kept in zip(old, new, strict=True):
            position = -1
            for token in kept:  # the kept tokens, in their order
                position = text.index(token, position + 1)
            assert (text[0], text[-1]) == (kept[0], kept[-1])
            gone += len(text) - len(kept)
        n_dropped.append(gone)
        inputs, labels, _ = (part[row].tolist() for part in after)
        n_room = (before[1][row] == -100).sum()
        assert labels[12 - n_room - gone :] == [-100] * (n_room + gone)
        assert inputs.count(EOS) == before[0][row].tolist().count(EOS) + gone  # no border was dropped, room was added
    assert set(n_dropped) <= {0, 1, 2, 3}
    assert sum(n > 0 for n in n_dropped) >= len(rows) - 1  # a row of very short documents has less to give


def test_one_to_three_tokens_alike_often_from_anywhere(make_split) -> None:
    rows = Windows(make_split([list(range(200, 200 + 61))]), 20)
    n, where = [], np.zeros(20, int)
    for number in range(600):
        _, labels, _ = drop_tokens(*rows.rows(np.array([0])), numbers=np.array([number]), most=3, seed=1, eos_id=EOS)
        kept = [200, *labels[0][labels[0] != -100].tolist()]
        gone = sorted(set(range(200, 221)) - set(kept))
        n.append(len(gone))
        where[np.array(gone) - 200] += 1
    assert {k: n.count(k) for k in (1, 2, 3)} == pytest.approx({1: 200, 2: 200, 3: 200}, abs=40)
    assert where[0] == 0
    assert where[1:].min() > 0.6 * where[1:].mean()


def test_it_depends_on_seed_and_number_alone(make_split) -> None:
    rows = Windows(make_split([list(range(200, 260))]), 10)
    numbers = np.arange(len(rows))
    one, again, other, later = (
        dropped(rows, n, seed=s)[0].tolist() for n, s in ((numbers, 1), (numbers, 1), (numbers, 2), (numbers + 60, 1))
    )
    assert one == again
    assert one != other
    assert one != later
    backwards = drop_tokens(*rows.rows(numbers[::-1]), numbers=numbers[::-1], most=3, seed=1, eos_id=EOS)[0]
    assert backwards[::-1].tolist() == one


def test_batches_drop_alike_however_they_are_cut(make_split) -> None:
    windows = Windows(make_split([list(range(200, 261)), list(range(300, 340))]), 5)

    def labels(step: int, **cut: int) -> list[list[int]]:
        batches = TrainingBatches(windows, batch_size=8, seed=3, drop_tokens=2, **cut)
        return [row for batch in batches(step) for row in batch.labels_BT.tolist()]

    for step in (0, 7):
        whole = labels(step, micro_batch_size=8)
        assert whole == labels(step, micro_batch_size=1)
        assert whole == [row for rank in (0, 1) for row in labels(step, micro_batch_size=2, rank=rank, world_size=2)]
        assert all(1 <= row.count(-100) <= 2 for row in whole)
    plain = TrainingBatches(windows, batch_size=8, micro_batch_size=8, seed=3)
    assert all((batch.labels_BT != -100).all() for batch in plain(0))
