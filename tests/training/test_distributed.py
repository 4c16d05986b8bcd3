"""Ranks alone change nothing; how several are one run is in tests/invariants."""

from __future__ import annotations

import torch

from groundup.training.distributed import ALONE, join_ranks


def test_alone_every_method_gives_back_what_it_got(monkeypatch):
    tensor = torch.tensor([1.0, 2.0])
    ALONE.sum_tensors([tensor])
    ALONE.copy_from_main([tensor])
    assert tensor.tolist() == [1.0, 2.0]
    assert ALONE.sum_numbers(3, 4.5) == [3, 4.5]
    assert ALONE.from_main(3, True) == [3, True]
    assert ALONE.is_main
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_ranks() as ranks:
        assert (ranks.rank, ranks.world_size, ranks.device) == (0, 1, "cpu")
        assert not torch.distributed.is_initialized()
