"""Worker processes that are asked and answer in JSON, a line at a time.

One idea: a worker is a module run by the same Python with nothing inherited. So it works alike from a script, a notebook
or a thread (a fork would copy locks that are held; multiprocessing imports the caller's script again), nothing is
pickled, and a worker that was killed is seen at once: its line ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groundup.core.errors import GroundupError


def child_environment() -> dict[str, str]:
    """The environment for a Python process that shall import the package this one runs, from wherever it lies."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return dict(os.environ) | {"PYTHONPATH": path}


class Worker:
    """A process that runs `module`, which answers what it is sent (`questions`, `answer`); it ends with the block."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # an interrupt at the terminal is for the parent, which ends us
            env=child_environment() | {"OMP_NUM_THREADS": "1"},
        )

    def send(self, value: Any) -> None:
        """Send a question. What became of a worker that is gone is told when its answer is missing."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(value).encode("ascii") + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def receive(self, at: object) -> Any:
        """Wait for the next answer. Raises `GroundupError` when the process ended instead, `at` what it had to do."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise GroundupError(
                f"a worker process ended with code {self._process.wait()} at {at}; if memory ran out, run again with "
                "fewer workers"
            )
        return json.loads(line)

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()


def questions() -> Iterator[Any]:
    """In a worker: what it is sent, until the parent has no more or is gone."""
    for line in iter(sys.stdin.buffer.readline, b""):
        yield json.loads(line)


def answer(value: Any) -> None:
    """In a worker: answer the question."""
    sys.stdout.buffer.write(json.dumps(value).encode("ascii") + b"\n")
    sys.stdout.buffer.flush()
