"""1 x 8 rows = 8 x 1 row = 2 ranks x 4 rows: the same weights after the same steps."""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("ranks_run.py")


def weights(out: Path, world_size: int, micro_batch_size: int) -> dict[str, torch.Tensor]:
    """The weights after a training, in this process or in two of their own."""
    if world_size == 1:
        runpy.run_path(str(SCRIPT))["main"](str(out), micro_batch_size)
        return load_file(out)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(out), str(micro_batch_size)],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world_size)
    ]
    for process in processes:
        errors = process.communicate(timeout=200)[1]
        assert process.returncode == 0, errors
    return load_file(out)


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> dict[str, torch.Tensor]:
    return weights(tmp_path_factory.mktemp("reference") / "weights.safetensors", 1, 8)


@pytest.mark.parametrize(("world_size", "micro_batch_size"), [(1, 1), (1, 2), (2, 4)])
def test_however_the_batch_is_cut_the_weights_are_the_same(tmp_path, reference, world_size, micro_batch_size):
    found = weights(tmp_path / "weights.safetensors", world_size, micro_batch_size)
    assert found.keys() == reference.keys()
    for name, tensor in reference.items():
        torch.testing.assert_close(found[name], tensor, atol=2e-6, rtol=1e-5, msg=lambda t, name=name: f"{name}: {t}")


def test_the_comparison_would_notice_an_average_of_averages(reference):
    assert reference["moved"].item() > 0.01  # the weights did move, so equality says something
