"""Files are whole or absent, whatever strikes: an error inside, a full disk, a kill at any instant."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from groundup.core import files
from groundup.core.errors import GroundupError
from groundup.core.files import (
    folder_written_atomically,
    free_bytes,
    read_json,
    readable_bytes,
    recover_retired,
    sha256_of,
    write_atomically,
    write_json,
)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_write_makes_parents_and_leaves_no_traces(tmp_path):
    write_atomically(tmp_path / "a" / "b.txt", "schön")
    write_atomically(tmp_path / "a" / "b.txt", b"\x00\xff")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"\x00\xff"
    assert names(tmp_path / "a") == ["b.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_keeps_the_old_file(tmp_path, monkeypatch, call, number):
    path = tmp_path / "a.txt"
    write_atomically(path, "old")

    def refuse(*_):
        raise OSError(number, "no room")

    monkeypatch.setattr(files.os, call, refuse)
    with pytest.raises(GroundupError, match=r"disk is full.*a\.txt.*free"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root on Linux")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_really_full_disk(tiny_disk):
    write_atomically(tiny_disk / "a.bin", b"a" * 10_000)
    with folder_written_atomically(tiny_disk / "model") as folder:
        (folder / "weights").write_bytes(b"w" * 10_000)
    with pytest.raises(GroundupError, match="disk is full"):
        write_atomically(tiny_disk / "a.bin", b"b" * 100_000)
    with (
        pytest.raises(GroundupError, match=r"disk is full.*model"),
        folder_written_atomically(tiny_disk / "model") as folder,
    ):
        (folder / "weights").write_bytes(b"x" * 100_000)
    assert (tiny_disk / "a.bin").read_bytes() == b"a" * 10_000
    assert (tiny_disk / "model" / "weights").read_bytes() == b"w" * 10_000
    assert names(tiny_disk) == ["a.bin", "model"]
    assert free_bytes(tiny_disk / "not" / "there") > 30_000


def test_bad_places_are_told(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "folder", tmp_path / "file" / "inside", tmp_path / ("n" * 300)):
        with pytest.raises(GroundupError, match="cannot write"):
            write_atomically(place, "x")
    assert names(tmp_path) == ["file", "folder"]


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(FileNotFoundError), folder_written_atomically(tmp_path / "a"):
        (tmp_path / "missing").read_text()
    with pytest.raises(KeyError), folder_written_atomically(tmp_path / "a"):
        raise KeyError
    assert names(tmp_path) == []


def test_folder_replaces_the_old_one_whole(tmp_path):
    target = tmp_path / "model"
    with folder_written_atomically(target) as folder:
        (folder / "one").write_text("1")
        assert not target.exists()
    with folder_written_atomically(target) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "two").write_text("2")
        assert (target / "one").read_text() == "1"
    assert names(target) == ["deep"]
    assert names(tmp_path) == ["model"]


def test_a_folder_takes_the_place_of_no_file_and_not_of_the_one_we_are_in(tmp_path, monkeypatch):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(GroundupError, match="mine is a file"), folder_written_atomically(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").read_text() == "mine"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for place in (".", tmp_path / "here"):
        with pytest.raises(GroundupError, match="the folder you are in"), folder_written_atomically(place):
            pass
    assert names(tmp_path) == ["here", "mine"]


def test_error_inside_keeps_the_old_folder(tmp_path):
    target = tmp_path / "model"
    with folder_written_atomically(target) as folder:
        (folder / "one").write_text("1")
    with pytest.raises(ZeroDivisionError), folder_written_atomically(target) as folder:
        (folder / "one").write_text(f"half {1 / 0}")
    assert (target / "one").read_text() == "1"
    assert names(tmp_path) == ["model"]


def test_failed_rename_brings_the_old_folder_back(tmp_path, monkeypatch):
    target = tmp_path / "model"
    with folder_written_atomically(target) as folder:
        (folder / "one").write_text("1")
    rename = os.rename

    def refuse_new(source, destination):
        if str(source).endswith(".partial"):
            raise OSError(errno.ENOSPC, "no room")
        rename(source, destination)

    monkeypatch.setattr(files.os, "rename", refuse_new)
    with pytest.raises(GroundupError, match="disk is full"), folder_written_atomically(target) as folder:
        (folder / "one").write_text("2")
    assert (target / "one").read_text() == "1"
    assert names(tmp_path) == ["model"]


def test_leftovers_of_a_killed_process_with_our_number(tmp_path):
    """In containers process numbers repeat: what a killed namesake left must neither block nor leak into the result."""
    for leftover in (f".model.{os.getpid()}.partial", f".model.{os.getpid()}.retired"):
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "old").write_text("old")
    (tmp_path / "model").mkdir()
    with folder_written_atomically(tmp_path / "model") as folder:
        (folder / "new").write_text("new")
    assert names(tmp_path / "model") == ["new"]
    assert names(tmp_path) == ["model"]


def test_recover_retired(tmp_path):
    (tmp_path / ".model.7.retired").mkdir()
    recover_retired(tmp_path / "model")
    assert names(tmp_path) == ["model"]
    (tmp_path / ".model.8.retired").mkdir()
    recover_retired(tmp_path / "model")
    assert names(tmp_path) == [".model.8.retired", "model"]
    recover_retired(tmp_path / "never_was")


WRITER = """
import sys
from groundup.core.files import folder_written_atomically, write_atomically
root, number = sys.argv[1], 0
while True:
    number += 1
    body = str(number) * 100_000
    write_atomically(root + "/file", body)
    with folder_written_atomically(root + "/folder") as folder:
        (folder / "a").write_text(body)
        (folder / "b").write_text(body)
    print(number, flush=True)
"""


def test_killed_at_any_moment(tmp_path):
    randomness = random.Random(0)
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(randomness.random() * 0.05)
            process.send_signal(signal.SIGKILL)
        recover_retired(tmp_path / "folder")
        content = (tmp_path / "file").read_text()
        assert content == content[: len(content) // 100_000] * 100_000
        a, b = ((tmp_path / "folder" / name).read_text() for name in "ab")
        assert a == b
        assert len(a) >= 100_000


def test_json(tmp_path):
    path = tmp_path / "a.json"
    value = {"z": [1, None, "ü"], "a": {"b": 0.5}}
    write_json(path, value)
    assert read_json(path) == value
    assert list(json.loads(path.read_text())) == ["z", "a"]
    path.write_text('{"a": 1,\n "b": }')
    with pytest.raises(GroundupError, match=r"a\.json is not valid JSON.*line 2 column 7"):
        read_json(path)
    with pytest.raises(GroundupError, match=r"none\.json is missing"):
        read_json(tmp_path / "none.json")


def test_json_keeps_file_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9.txt")
    write_json(tmp_path / "a.json", {"command": [name]})
    assert read_json(tmp_path / "a.json")["command"] == [name]


def test_sha256_of_known_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1536, "1.5 kB"), (2.5e9, "2.5 GB"), (7e12, "7.0 TB"), (-2048, "-2.0 kB")],
)
def test_readable_bytes(n_bytes, text):
    assert readable_bytes(n_bytes) == text
