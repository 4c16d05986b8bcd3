"""The table agrees with a dict, and is as small as it says."""

from __future__ import annotations

import numpy as np
import pytest

from groundup.data.duplicates.table import NONE, HashTable


def keys_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, n, np.uint64)


def test_many_at_a_time_it_agrees_with_a_dict_that_keeps_the_first():
    table, truth, chance = HashTable(), {}, np.random.default_rng(1)
    pool = np.concatenate([keys_of(3000), np.array([0, 1], np.uint64)])
    for round_ in range(40):
        keys = chance.choice(pool, 200)
        numbers = np.arange(200, dtype=np.uint32) + round_ * 1000
        expected = [truth.get(max(key, 1), NONE) for key in keys.tolist()]
        assert table.find(keys).tolist() == expected
        table.add(keys, numbers)
        for key, number in zip(keys.tolist(), numbers.tolist(), strict=True):
            truth.setdefault(max(key, 1), number)
        assert len(table) == len(truth)
    assert table.find(pool).tolist() == [truth.get(max(key, 1), NONE) for key in pool.tolist()]


def test_one_at_a_time_it_is_the_same_table():
    keys = np.concatenate([keys_of(2000), keys_of(2000)[::3]])
    one, many = HashTable(), HashTable()
    found = [one.first_of(key, number) for number, key in enumerate(keys.tolist())]
    many.add(keys, np.arange(len(keys), dtype=np.uint32))
    assert found[:2000] == [None] * 2000
    assert found[2000:] == list(range(0, 2000, 3))
    assert one.find(keys).tolist() == many.find(keys).tolist()


def test_keys_that_all_want_one_place_are_kept_apart():
    table = HashTable()
    keys = np.arange(1, 500, dtype=np.uint64) * np.uint64(1024)  # modulo the first size all are 0
    table.add(keys, np.arange(499, dtype=np.uint32))
    assert table.find(keys).tolist() == list(range(499))
    assert table.find(np.array([1024 * 500], np.uint64)).tolist() == [NONE]


@pytest.mark.parametrize("n", [10_000, 30_000, 100_000])
def test_an_entry_takes_14_to_21_bytes(n: int):
    table = HashTable()
    table.add(keys_of(n), np.arange(n, dtype=np.uint32))
    assert 13.7 <= table.n_bytes / n <= 20.6
