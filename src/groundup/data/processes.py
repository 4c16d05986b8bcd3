"""Tasks of a preparation by several processes of this machine.

One idea: whoever is free takes the next task. Threads share the encoding, but reading and splitting is Python's own work, which
they cannot; so processes win where cores are many and rows short. On two cores they gain nothing: each loads the tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path

from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.core.workers import Worker, answer, questions
from groundup.data.store import TokenStore
from groundup.data.tasks import TASK_BYTES, Work, assemble, run_task, settle

_MODULE = "groundup.data.processes"


def prepare_by_processes(work: Work, n_workers: int, n_threads: int, reporter: Reporter) -> TokenStore:
    """Do all stages of `work`; each worker encodes with `n_threads`.

    Raises `GroundupError` for what a worker could not read, and for a worker that was killed.
    """
    tokenizer = work.tokenizer()
    n_done, n_tasks = n_tasks_done(work), len(work.tasks)
    if any(n_done.values()):
        done = ", ".join(f"{stage} {count} of {n_tasks} tasks" for stage, count in n_done.items())
        reporter.say(f"{work.out}: going on after {done}")
    if n_tasks < n_workers and sum(source.n_bytes for source in work.sources) > n_workers * TASK_BYTES[0]:
        files = f"{len(work.sources):,} file{'s' * (len(work.sources) != 1)}"
        reporter.warn(f"{files} make work for {n_tasks} of {n_workers} workers: a file is read by one")
    todo = work.unfinished("survey")
    with reporter.bar("reading", sum(source.n_bytes for task in todo for source in work.task_sources(task))) as bar:
        _run("survey", work, todo, n_workers, n_threads, bar.advance)
    plan = settle(work, tokenizer)
    todo = work.unfinished("encode")
    with reporter.bar("encoding", sum(plan.task_bytes[task] for task in todo)) as bar:
        _run("encode", work, todo, n_workers, n_threads, bar.advance)
    return assemble(work, tokenizer, reporter)


def n_tasks_done(work: Work) -> dict[str, int]:
    """How many tasks of each stage are finished."""
    return {stage: len(work.tasks) - len(work.unfinished(stage)) for stage in ("survey", "encode")}


def _run(
    stage: str, work: Work, tasks: list[int], n_workers: int, n_threads: int, advance: Callable[[int], None]
) -> None:
    waiting = tasks[::-1]

    def serve(worker: Worker) -> None:
        while waiting:
            task = waiting.pop()
            worker.send([str(work.folder), stage, task, n_threads])
            while (said := worker.receive(work.task_sources(task)[0])) != "done":
                if isinstance(said, str):
                    raise GroundupError(said)
                advance(said)

    n_workers = min(n_workers, len(tasks))
    with ThreadPoolExecutor(max(n_workers, 1)) as threads, ExitStack() as stack:
        workers = [stack.enter_context(Worker(_MODULE)) for _ in range(n_workers)]
        served = [threads.submit(serve, worker) for worker in workers]
        try:
            finished, _ = wait(served, return_when=FIRST_EXCEPTION)
        finally:
            waiting.clear()
            for worker in workers:
                worker.kill()
        for each in finished:
            each.result()


def _serve() -> None:
    """What a worker does."""
    for folder, stage, task, n_threads in questions():
        try:
            run_task(Work.open(Path(folder)), stage, task, n_threads, answer)
            answer("done")
        except GroundupError as error:
            answer(str(error))


if __name__ == "__main__":
    _serve()
