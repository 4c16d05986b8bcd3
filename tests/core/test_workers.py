from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from groundup.core.errors import GroundupError
from groundup.core.workers import Worker

MODULE = """
    import os, signal
    from groundup.core.workers import answer, questions
    for question in questions():
        if question == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        answer({"pid": os.getpid(), "twice": 2 * question})
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch) -> str:
    (tmp_path / "doubling.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return "doubling"


def test_it_answers_in_another_process_and_ends_with_the_block(module: str) -> None:
    with Worker(module) as worker:
        worker.send([1, "é"])
        first = worker.receive("work")
        assert first["twice"] == [1, "é", 1, "é"]
        worker.send("x\ny")
        assert worker.receive("work") == {"pid": first["pid"], "twice": "x\nyx\ny"}
        assert psutil.pid_exists(first["pid"])
    assert not psutil.pid_exists(first["pid"])


def test_one_that_was_killed_is_an_error_not_a_wait(module: str) -> None:
    with Worker(module) as worker:
        worker.send("die")
        with pytest.raises(GroundupError, match="code -9 at work"):
            worker.receive("work")
        worker.send("more")
        with pytest.raises(GroundupError, match="code -9 at work"):
            worker.receive("work")


def test_it_ends_when_its_parent_is_killed(module: str) -> None:
    script = f"""
        import sys
        from groundup.core.workers import Worker
        worker = Worker({module!r})
        worker.send(1)
        print(worker.receive('work')['pid'], flush=True)
        sys.stdin.read()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not psutil.pid_exists(pid)
