"""Tasks of a preparation by the machines of a slurm cluster, through datatrove.

One idea: our stages are datatrove pipelines of one step, chained by slurm's own dependencies; a task array for each stage
that has tasks. datatrove writes the job scripts, knows which tasks are completed, and puts a job that was stopped back in
the queue (its README, "Multi-node parallelization"). All machines see the folder `out`, as they see the Python that runs.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groundup.core.errors import GroundupError, missing_extra
from groundup.core.files import read_json, write_json
from groundup.core.progress import QUIET, Reporter
from groundup.data.processes import n_tasks_done
from groundup.data.tasks import Work, assemble, run_task, settle

_NEEDED = ("partition", "time")
_OF_THE_ENGINE = {"partition": str, "time": str, "qos": str, "cpus_per_task": int, "mem_per_cpu_gb": int}
_JOBS = "jobs.json"
LOGS = "slurm"


def check_cluster(slurm: Mapping[str, str], n_threads: int) -> dict[str, Any]:
    """What `slurm` says, as `submit` takes it.

    It must say `partition` and `time`; `cpus_per_task` (`n_threads` if left out), `mem_per_cpu_gb` and `qos` are known,
    anything else goes to `sbatch` as it is. Raises `GroundupError` where the library or slurm's commands are missing.
    """
    try:
        import datatrove.executor.slurm  # noqa: F401
    except ImportError:
        raise missing_extra("datatrove", "scale", "preparing on a cluster") from None
    settings = _settings(slurm, n_threads)
    for command in ("sbatch", "squeue"):
        if shutil.which(command) is None:
            raise GroundupError(f"{command} is not here; run this on a machine that has slurm's commands")
    return settings


def submit(work: Work, settings: dict[str, Any], n_workers: int, n_threads: int, reporter: Reporter) -> bool:
    """Put what is unfinished of `work` into the queue; False when it is there already.

    `settings` are those of `check_cluster`. At most `n_workers` tasks run at once, -1 for no limit.
    """
    from datatrove.executor.slurm import SlurmPipelineExecutor
    from loguru import logger

    logger.disable("datatrove")  # it tells of every job on the terminal
    logs = work.out.absolute() / LOGS / work.folder.name
    jobs, n_done = logs / _JOBS, n_tasks_done(work)
    if jobs.exists() and _are_queued(read_json(jobs)):
        for stage, count in n_done.items():
            reporter.say(f"{stage:<11} {count} of {len(work.tasks)} tasks finished")
        return False
    _tell_errors(work, reporter)
    if not any(n_done.values()):  # what datatrove noted as completed there is gone
        shutil.rmtree(logs, ignore_errors=True)
    before, ids = None, []
    for stage, n_tasks in (("survey", len(work.tasks)), ("settle", 1), ("encode", len(work.tasks)), ("assemble", 1)):
        executor = SlurmPipelineExecutor(
            [functools.partial(_step, str(work.folder), stage, n_threads)],
            tasks=n_tasks,
            workers=n_workers,
            job_name=f"groundup-{stage}",
            logging_dir=str(logs / stage),
            depends=before,
            env_command=f"export PATH={Path(sys.executable).parent}:$PATH",
            **settings,
        )
        try:
            executor.run()
        except subprocess.CalledProcessError as error:
            raise GroundupError(
                f"sbatch refused the job of stage {stage} (code {error.returncode}; it says why above); "
                "are partition, time and the other --slurm settings right?"
            ) from None
        if executor.job_id != -1:
            before, ids = executor, [*ids, str(executor.job_id)]
            write_json(jobs, ids)
            reporter.say(f"submitted   {stage}, {n_tasks} task{'s' * (n_tasks != 1)}, as job {executor.job_id}")
    reporter.say(f"logs        {logs}")
    return True


def _settings(slurm: Mapping[str, str], n_threads: int) -> dict[str, Any]:
    missing = [name for name in _NEEDED if name not in slurm]
    if missing:
        raise GroundupError(
            f"slurm needs {' and '.join(missing)}; say for example --slurm partition=cpu --slurm time=04:00:00"
        )
    known: dict[str, Any] = {"cpus_per_task": n_threads, "qos": ""}
    for name in set(_OF_THE_ENGINE) & set(slurm):
        try:
            known[name] = _OF_THE_ENGINE[name](slurm[name])
        except ValueError:
            raise GroundupError(f"slurm {name} is {slurm[name]!r}; it must be a whole number") from None
    others = {name: value for name, value in slurm.items() if name not in _OF_THE_ENGINE}
    # Without this the stages after one that failed would wait for ever.
    return known | {"sbatch_args": {"kill-on-invalid-dep": "yes"} | others}


def _are_queued(ids: list[str]) -> bool:
    """Whether slurm still has one of these jobs, waiting or running."""
    found = subprocess.run(
        ["squeue", "--noheader", "--jobs", ",".join(ids)], capture_output=True, text=True, check=False
    )
    return bool(found.stdout.strip())  # of jobs it no longer knows it says so, on the other stream


def _tell_errors(work: Work, reporter: Reporter) -> None:
    for path in sorted(work.folder.glob("*.error")):
        reporter.warn(f"the last attempt stopped at: {path.read_text(encoding='utf-8')}")
        path.unlink()


def _step(folder: str, stage: str, n_threads: int, data: object, rank: int, world_size: int) -> None:
    """What datatrove calls on some machine: one task of a stage."""
    work = Work.open(Path(folder))
    os.chdir(work.cwd)
    try:
        if stage == "settle":
            settle(work, work.tokenizer())
        elif stage == "assemble":
            assemble(work, work.tokenizer(), QUIET)
        else:
            run_task(work, stage, rank, n_threads)
    except GroundupError as error:
        (work.folder / f"{stage}-{rank:05d}.error").write_text(str(error), encoding="utf-8")
        raise
