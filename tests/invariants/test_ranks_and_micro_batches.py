"""1 x 8 rows = 8 x 1 row = 2 ranks x 4 rows, stopped and resumed or not: the same weights after the same steps."""

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


def run_two_ranks(*arguments: str) -> None:
    """Run the script in two processes that are one run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        ends = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    finally:
        for process in processes:
            process.kill()  # one that waits for a rank that has left
    assert [code for _, code in ends] == [0, 0], "\n".join(errors for errors, _ in ends)


def weights(folder: Path, world_size: int, micro_batch_size: int) -> dict[str, torch.Tensor]:
    """The weights after a training, in this process or in two of their own."""
    if world_size == 1:
        runpy.run_path(str(SCRIPT))["cut"](folder, micro_batch_size)
    else:
        run_two_ranks("cut", str(folder), str(micro_batch_size))
    return load_file(folder / "cut-0.safetensors")


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> dict[str, torch.Tensor]:
    return weights(tmp_path_factory.mktemp("reference"), 1, 8)


@pytest.mark.parametrize(("world_size", "micro_batch_size"), [(1, 1), (1, 2), (2, 4)])
def test_however_the_batch_is_cut_the_weights_are_the_same(tmp_path, reference, world_size, micro_batch_size):
    found = weights(tmp_path, world_size, micro_batch_size)
    assert found.keys() == reference.keys()
    for name, tensor in reference.items():
        torch.testing.assert_close(found[name], tensor, atol=2e-6, rtol=1e-5, msg=lambda t, name=name: f"{name}: {t}")


def test_the_comparison_would_notice_an_average_of_averages(reference):
    assert reference["moved"].item() > 0.01  # the weights did move, so equality says something


def test_two_ranks_resume_finish_and_diverge_as_one(tmp_path):
    run_two_ranks("resume", str(tmp_path))

    def of(name: str, rank: int) -> dict[str, torch.Tensor]:
        return load_file(tmp_path / f"{name}-{rank}.safetensors")

    straight = of("straight", 0)
    for name in ("straight", "resumed", "again"):
        for rank in range(2):
            found = of(name, rank)
            assert [key for key in straight if not torch.equal(straight[key], found[key])] == [], (name, rank)
    good, other = of("diverged", 0), of("diverged", 1)  # the state after step 20, put back on both
    assert [key for key in good if not torch.equal(good[key], other[key])] == []
