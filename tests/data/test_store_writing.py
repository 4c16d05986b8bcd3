from __future__ import annotations

import random
import weakref
from pathlib import Path

import numpy as np
import pytest

from groundup.data.store_writing import Journal, ShardWriter

EOS = 7


def units(seed: int, n: int) -> list[tuple[np.ndarray, bool]]:
    """Units of all kinds: long, short, empty; whole documents and stretches of them."""
    chance = random.Random(seed)
    lengths = [chance.choice([0, 0, 1, 2, 3, 10, 40, 200]) for _ in range(n)]
    return [(np.arange(length, dtype=np.uint32) + 100 * i, chance.random() < 0.6) for i, length in enumerate(lengths)]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("tokens_per_shard", [1, 50, 333, 10**6])
@pytest.mark.parametrize("seed", range(4))
def test_many_units_at_once_are_the_units_one_by_one(tmp_path: Path, tokens_per_shard: int, seed: int) -> None:
    made = units(seed, 120)
    singly, at_once = (
        ShardWriter(folder, Journal.open(folder, "key"), "train", EOS, np.dtype("<u2"), tokens_per_shard)
        for folder in (tmp_path / "singly", tmp_path / "at once")
    )
    for i, (ids, ends) in enumerate(made):
        singly.add(ids, ends, i)
    chance, begin = random.Random(seed), 0
    while begin < len(made):
        run = made[begin : begin + chance.choice([1, 5, 60])]
        parts = [np.append(ids, EOS) if ends else ids for ids, ends in run]
        at_once.add_run(
            np.concatenate(parts).astype("<u2"),
            np.array([len(part) for part in parts]),
            np.array([ends for _, ends in run]),
            np.arange(begin, begin + len(run)),
        )
        begin += len(run)
    assert singly.n_units == at_once.n_units == 120
    singly.finish()
    at_once.finish()
    found = content(tmp_path / "singly")
    assert content(tmp_path / "at once") == found  # shards and the journal, which tells documents, bytes and hashes
    n_shards = len(found) - 1
    assert n_shards == 1 if tokens_per_shard == 10**6 else n_shards > {1: 60, 50: 20, 333: 5}[tokens_per_shard]


def test_what_was_encoded_together_is_not_kept_for_one_row_of_it(tmp_path: Path) -> None:
    """Rows of validation text come by ones, each a view of the ids of a million characters."""
    writer = ShardWriter(tmp_path, Journal.open(tmp_path, "key"), "validation", EOS, np.dtype("<u2"), 1000)
    group = np.arange(300_000, dtype=np.uint32)
    kept = weakref.ref(group)
    writer.add(group[70:75], True, 5)
    del group
    assert kept() is None
    writer.finish()
    (shard,) = tmp_path.glob("*.tokens")
    assert np.frombuffer(shard.read_bytes()[32:44], "<u2").tolist() == [70, 71, 72, 73, 74, EOS]
