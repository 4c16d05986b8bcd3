"""Killed and resumed, to the bit the run that was never killed: SIGKILL at many moments, several inside a save."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from groundup.data.prepare import prepare
from groundup.tokenization.training import train_tokenizer

SCRIPT = Path(__file__).with_name("killable_run.py")
MOMENTS = (
    "writing:1",  # before any state is whole: the next life starts anew
    "step:2:0",
    "before:2",
    "step:7:0.002",
    "after:1",
    "step:11:0.005",
    "step:12:0.01",
    "writing:3",
    "after:4",
    "step:24:0.001",
    "before:3",
)  # fmt: skip

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A token store of twelve short documents, a few windows each."""
    folder = tmp_path_factory.mktemp("data")
    texts = [f"document {i}: " + f"the number {i} and its square {i * i}, " * 3 for i in range(12)]
    for i, text in enumerate(texts):
        (folder / f"{i:02d}.txt").write_text(text)
    tokenizer = train_tokenizer(texts, algorithm="char")
    prepare([folder], tokenizer, folder / "store")
    return folder / "store"


def run(folder: Path, data: Path, *moments: str) -> Path:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), str(data), *moments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_weights_and_the_losses_are_those_of_the_run_never_killed(tmp_path, data):
    straight, killed = run(tmp_path / "straight", data), run(tmp_path / "killed", data, *MOMENTS)
    assert 1 < float((straight / "epochs.txt").read_text()) < 20  # several epochs, and the end inside one
    a, b = load_file(straight / "final.safetensors"), load_file(killed / "final.safetensors")
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    rows = [[json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()] for f in (straight, killed)]
    assert [row["step"] for row in rows[1]] == list(range(1, 31))
    assert [row["train_loss"] for row in rows[0]] == [row["train_loss"] for row in rows[1]]
    assert rows[1][-1]["tokens"] == 30 * 8 * 16
    assert sorted(path.name for path in (killed / "state").iterdir()) == ["step-00000029", "step-00000030"]
