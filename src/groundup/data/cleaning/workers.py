"""All cores judging, in order: worker processes that speak JSON, a line a batch.

The one idea: cleaning is Python's own work on strings, which threads cannot share; so each worker is this module run by
the same Python, with nothing inherited. That works from a script, a notebook or a thread alike, where forking
would copy locks that are held. Batches are handed out in turn and taken back in turn, so the order of documents never
depends on who was quick.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from groundup.core.errors import GroundupError
from groundup.data.cleaning.documents import Document
from groundup.data.cleaning.judge import Judge, Verdict
from groundup.data.cleaning.settings import CleanConfig

BATCH_CHARACTERS = 1 << 19
_BATCH_DOCUMENTS = 2000
_MODULE = "groundup.data.cleaning.workers"

Judged = tuple[Document, Verdict]


def judged(
    documents: Iterator[Document], settings: CleanConfig, findings: Path, is_final: bool, n_workers: int
) -> Iterator[Judged]:
    """Every document with its verdict, in order. One worker is this process itself."""
    if n_workers == 1:
        judge = Judge(settings, findings, is_final)
        for document in documents:
            yield document, judge(document.text)
        return
    order = json.dumps({"settings": settings.model_dump(mode="json"), "findings": str(findings), "is_final": is_final})
    with ExitStack() as stack:
        workers = [stack.enter_context(_Worker(order)) for _ in range(n_workers)]
        threads = stack.enter_context(ThreadPoolExecutor(n_workers))
        waiting: deque[tuple[list[Document], Future[list[Verdict]]]] = deque()
        for turn, batch in enumerate(_batches(documents)):
            if len(waiting) >= 2 * n_workers:
                yield from _taken(*waiting.popleft())
            waiting.append((batch, threads.submit(workers[turn % n_workers].judge, batch)))
        while waiting:
            yield from _taken(*waiting.popleft())


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    held = 0
    for document in documents:
        batch.append(document)
        held += len(document.text)
        if held >= BATCH_CHARACTERS or len(batch) >= _BATCH_DOCUMENTS:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _taken(batch: list[Document], verdicts: Future[list[Verdict]]) -> Iterator[Judged]:
    return zip(batch, verdicts.result(), strict=True)


class _Worker:
    """A process that judges; `judge` may be called from any thread, one call at a time goes through."""

    def __init__(self, order: str) -> None:
        self._turn = threading.Lock()
        root = str(Path(__file__).resolve().parents[3])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # an interrupt at the terminal is for the parent, which ends us
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        self._send(order)

    def judge(self, batch: list[Document]) -> list[Verdict]:
        with self._turn:
            assert self._process.stdout is not None
            self._send(json.dumps([document.text for document in batch]))
            answer = self._process.stdout.readline()
        if not answer:
            raise GroundupError(
                f"a worker process ended with code {self._process.wait()} at {batch[0].id}; if memory ran out, "
                "run again with fewer workers"
            )
        found = json.loads(answer)
        if isinstance(found, dict):
            raise GroundupError(found["error"])
        return [Verdict.from_json(values) for values in found]

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode("ascii") + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # what became of the worker is told when its answer is missing

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()


def _serve() -> None:
    """What a worker does: read the order, then judge a batch for every line until there are no more."""
    lines = iter(sys.stdin.buffer.readline, b"")
    order: dict[str, Any] = json.loads(next(lines))
    answer: object
    judge = None
    for line in lines:
        try:
            if judge is None:
                settings = CleanConfig.build(order["settings"])
                judge = Judge(settings, Path(order["findings"]), order["is_final"])
            answer = [judge(text).as_json() for text in json.loads(line)]
        except GroundupError as error:
            answer = {"error": str(error)}
        sys.stdout.buffer.write(json.dumps(answer).encode("ascii") + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
