"""Devices are found or refused by name; what is measured is plausible; nothing about people or hosts is told."""

import getpass
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from groundup.core import device
from groundup.core.errors import GroundupError


def test_pick_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.pick_device() == device.pick_device("cpu") == "cpu"
    with pytest.raises(GroundupError, match=r"'cuda' is not on this machine.*found: 0"):
        device.pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.pick_device() == "cuda"
    assert device.pick_device("cuda:1") == "cuda:1"
    with pytest.raises(GroundupError, match="found: 2"):
        device.pick_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cpu:0", "cuda:x", "", "cuda:-1"])
def test_unknown_devices(name):
    with pytest.raises(GroundupError, match=f"unknown device {name!r}"):
        device.pick_device(name)


def test_mps_elsewhere(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(GroundupError, match="Apple silicon"):
        device.pick_device("mps")


def test_machine_info():
    info = device.machine_info()
    text = json.dumps(info)
    assert info["python"] == sys.version.split()[0]
    assert info["torch"] == torch.__version__
    assert 1 <= info["cores"] <= (os.cpu_count() or 1)
    assert 0 < info["memory_bytes"] <= psutil.virtual_memory().total
    assert socket.gethostname() not in text
    assert getpass.getuser() == "root" or getpass.getuser() not in text


def test_commit_of_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert device.machine_info()["commit"] is None
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert device.machine_info()["commit"] is None  # no commit yet
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    commit = device.machine_info()["commit"]
    assert commit is not None
    assert len(commit) == 40


def test_ceiling_is_plausible_and_measured_once():
    first = device.measure_ceiling("cpu", torch.float32)
    assert 1e8 < first < 1e14
    assert device.measure_ceiling("cpu", torch.float32) == first


def test_container_limits_count(monkeypatch):
    monkeypatch.setattr(device, "_container_limit", lambda: 10**6)
    assert device.total_memory_bytes() == 10**6
    monkeypatch.setattr(device, "_container_limit", lambda: None)
    assert device.total_memory_bytes() == psutil.virtual_memory().total
    assert 0 < device.free_memory_bytes() < device.total_memory_bytes()


def test_peak_memory_is_a_high_water_mark():
    before = device.peak_memory_bytes()
    block = bytearray(200_000_000)
    block[::4096] = b"x" * len(block[::4096])
    del block
    assert device.peak_memory_bytes() >= max(before, 200_000_000)


def test_doctor_checks_every_optional_part(monkeypatch):
    monkeypatch.setattr(device, "measure_ceiling", lambda _, dtype: 2e11 if dtype == torch.float32 else 1e11)
    monkeypatch.setattr(device.shutil, "which", lambda _: None)
    monkeypatch.setattr(device.importlib.util, "find_spec", lambda name: None if name == "pyarrow" else object())
    checks = {check.name: check for check in device.doctor()}
    assert not checks["bf16 arithmetic"].ok
    assert checks["bf16 arithmetic"].found == "fp32 200 GFLOP/s, bf16 100 GFLOP/s (0.5 times)"
    assert "no C++ compiler" in checks["torch.compile"].found
    assert not checks["pyarrow"].ok
    assert checks["pyarrow"].get == "pip install pyarrow (the extra groundup[parquet] has it)"
    assert checks["transformers"].ok
    assert all(check.gain and check.get for check in checks.values() if not check.ok)


def test_doctor_knows_every_library_of_every_extra(monkeypatch):
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    monkeypatch.setattr(device, "measure_ceiling", lambda _, dtype: 1e11)
    checks = {check.name: check for check in device.doctor()}
    for extra, requirements in project["optional-dependencies"].items():
        for library in (re.split(r"[>=\[]", requirement)[0] for requirement in requirements if extra != "test"):
            assert checks[library].get.startswith(f"pip install {library} (the extra groundup["), library
            assert checks[library].ok == checks[library].found[0].isdigit(), checks[library]  # a version, or words
