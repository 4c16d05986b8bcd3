"""A state is whole or absent, and there is always one to go back to."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest
import torch

from groundup.checkpoints.training_state import load_newest_state, save_state
from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter


class Listener(Reporter):
    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"a.weight": torch.full((3, 4), value), "b": torch.tensor(value).bfloat16(), "c": torch.arange(5)}


def save(folder, *steps):
    for step in steps:
        save_state(folder, step, tensors(step), {"step": step, "list": [1.5, None]})


def test_what_is_saved_comes_back_to_the_bit(tmp_path):
    save(tmp_path, 120)
    state = load_newest_state(tmp_path)
    assert state.step == 120
    assert state.values == {"step": 120, "list": [1.5, None]}
    assert set(state.tensors) == set(tensors(0))
    for name, tensor in tensors(120).items():
        assert torch.equal(state.tensors[name], tensor)
        assert state.tensors[name].dtype == tensor.dtype


def test_no_folder_or_an_empty_one_is_no_state(tmp_path):
    assert load_newest_state(tmp_path) is None
    assert load_newest_state(tmp_path / "absent") is None


def test_the_newest_two_are_kept(tmp_path):
    save(tmp_path, 9, 10, 11)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000011"]


def test_views_and_transposed_tensors_are_saved_as_they_look(tmp_path):
    matrix = torch.arange(12.0).view(3, 4)
    save_state(tmp_path, 1, {"t": matrix.T}, {})
    assert torch.equal(load_newest_state(tmp_path).tensors["t"], matrix.T)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["state.safetensors", "values.json", "manifest.json"])
@pytest.mark.parametrize("damage", [cut, flip, os.unlink])
def test_a_damaged_state_is_passed_over_aloud(tmp_path, name, damage):
    save(tmp_path, 1, 2)
    if name == "manifest.json" and damage is not os.unlink:
        (tmp_path / "step-00000002" / name).write_text("{")
    else:
        damage(tmp_path / "step-00000002" / name)
    listener = Listener()
    assert load_newest_state(tmp_path, reporter=listener).step == 1
    assert len(listener.warnings) == 1
    assert "step-00000002 is damaged" in listener.warnings[0]


def test_when_all_are_damaged_a_person_decides(tmp_path):
    save(tmp_path, 1, 2)
    for step in tmp_path.iterdir():
        cut(step / "state.safetensors")
    with pytest.raises(GroundupError, match=r"step-00000002.*step-00000001.*delete"):
        load_newest_state(tmp_path)


def test_leftovers_of_killed_saves_are_neither_read_nor_kept(tmp_path):
    save(tmp_path, 1)
    partial = tmp_path / ".step-00000002.77.partial"
    partial.mkdir()
    (partial / "state.safetensors").write_bytes(b"half")
    assert load_newest_state(tmp_path).step == 1
    save(tmp_path, 3)
    assert not partial.exists()


def test_a_kill_between_the_renames_that_replace_a_state_loses_nothing(tmp_path):
    save(tmp_path, 5)
    (tmp_path / "step-00000005").rename(tmp_path / ".step-00000005.77.retired")
    assert load_newest_state(tmp_path).step == 5
    (tmp_path / "step-00000005").rename(tmp_path / ".step-00000005.77.retired")
    save(tmp_path, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000005", "step-00000006"]


def test_a_disk_that_fills_up_is_said_and_leaves_the_state_before(tmp_path, monkeypatch):
    from groundup.checkpoints import tensor_files

    save(tmp_path, 1)

    def full(file, content):
        file.write(content[:8])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tensor_files, "_write_all", full)
    with pytest.raises(GroundupError, match="disk is full"):
        save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert load_newest_state(tmp_path).step == 1


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
import torch
from groundup.checkpoints.training_state import save_state
try:
    save_state(sys.argv[1], 2, {"big": torch.zeros(100_000)}, {})
except OSError as error:
    print("errno", error.errno)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sets a limit on file sizes")
def test_an_error_of_the_system_under_safetensors_keeps_its_number(tmp_path):
    save(tmp_path, 1)
    output = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True)
    assert output.stdout.strip() == "errno 27", output.stderr  # EFBIG, the nearest to a full disk a test may cause
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_killed_while_saving_there_is_always_a_whole_state(tmp_path):
    """How a save ends at each of its instants is in tests/invariants; here kills come when they come."""
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    done = [3, *(int(line) for line in process.stdout.read().split())]
    process.wait()
    state = load_newest_state(tmp_path)
    assert state.step in (done[-1], done[-1] + 1)
    assert torch.equal(state.tensors["a"], torch.full((300_000,), float(state.step)))


ENDLESS = """
import itertools, sys
import torch
from groundup.checkpoints.training_state import save_state
for step in itertools.count(1):
    save_state(sys.argv[1], step, {"a": torch.full((300_000,), float(step))}, {"step": step})
    print(step, flush=True)
"""
