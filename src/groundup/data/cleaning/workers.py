"""All cores judging, in order: worker processes that are sent a batch at a time.

The one idea: cleaning is Python's own work on strings, which threads cannot share. Batches are handed out to processes in
turn and taken back in turn, so the order of documents never depends on who was quick.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from groundup.core.errors import GroundupError
from groundup.core.workers import Worker, answer, questions
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
    order = {"settings": settings.model_dump(mode="json"), "findings": str(findings), "is_final": is_final}
    with ExitStack() as stack:
        workers = [_Judging(stack.enter_context(Worker(_MODULE)), order) for _ in range(n_workers)]
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


class _Judging:
    """A process that judges; `judge` may be called from any thread, one call at a time goes through."""

    def __init__(self, worker: Worker, order: dict[str, Any]) -> None:
        self._turn = threading.Lock()
        self._worker = worker
        worker.send(order)

    def judge(self, batch: list[Document]) -> list[Verdict]:
        with self._turn:
            self._worker.send([document.text for document in batch])
            found = self._worker.receive(batch[0].id)
        if isinstance(found, dict):
            raise GroundupError(found["error"])
        return [Verdict.from_json(values) for values in found]


def _serve() -> None:
    """What a worker does: read the order, then judge a batch for every line until there are no more."""
    asked = questions()
    order: dict[str, Any] = next(asked, {})  # none when whoever asks was stopped before asking: nothing follows then
    judge = None
    for texts in asked:
        try:
            if judge is None:
                settings = CleanConfig.build(order["settings"])
                judge = Judge(settings, Path(order["findings"]), order["is_final"])
            answer([judge(text).as_json() for text in texts])
        except GroundupError as error:
            answer({"error": str(error)})


if __name__ == "__main__":
    _serve()
