"""A pretraining run in a process of its own, watched from outside by what it writes into its folder.

The one idea: the run folder is all that passes between the two. So the memory measured is that run's alone, a kill costs what
it costs any run, and the person can open, resume or sample the run while it goes on or long after.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.core.runs import Row, RunFolder
from groundup.core.workers import child_environment
from groundup.pretraining.config import PretrainConfig

LOOK_SECONDS = 0.5
INTERRUPTED, REFUSED = 130, 2
_TAIL_BYTES = 4096


def train_in_child(name: str, settings: Path, run: Path, reporter: Reporter) -> None:
    """Carry out `groundup pretrain` with a file of settings, or go on with the run where it stopped; nothing when it is finished.

    What the command says is kept in `NAME.log` beside the run. Raises `GroundupError` with the end of it when the run
    failed (a run refused before it began says no more than that, and leaves no log), and `KeyboardInterrupt` when it was
    interrupted, which leaves it resumable.
    """
    folder = RunFolder(run)
    if folder.config.is_file():
        if folder.read_summary().status == "finished":
            return
        words = ["resume", str(run)]
    else:
        words = ["pretrain", "--config", str(settings), "--out", str(run)]
    config, log = PretrainConfig.read(settings), run.parent / f"{run.name}.log"
    total, unit = _budget(config)
    with open(log, "ab") as said, reporter.bar(f"training {name}", total, unit) as bar:
        process = subprocess.Popen(
            [sys.executable, "-m", "groundup", *words],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=child_environment(),
            start_new_session=True,  # Ctrl-C at the terminal is for us, who pass it on once
        )
        try:
            while (code := _ended(process)) is None:
                if row := newest_row(folder.metrics):
                    bar.set(min(total, _spent(config, row)), info=_info(row))
        except BaseException:
            process.send_signal(signal.SIGINT)  # finish the step, save, leave
            process.wait()
            raise
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        reason = lines[-1].removeprefix("error: ") if lines else f"it ended with code {code}"
        if code == REFUSED and not folder.config.is_file():
            log.unlink()
            raise GroundupError(f"{name}: {reason}")
        raise GroundupError(f"{name}: {reason} (all it said is in {log})")


def newest_row(metrics: Path) -> Row | None:
    """The last step's figures of a run that may still be writing; None before the first."""
    if not metrics.exists():
        return None
    with open(metrics, "rb") as file:
        file.seek(max(0, metrics.stat().st_size - _TAIL_BYTES))
        lines = file.read().split(b"\n")[:-1]  # what follows the last line break is not whole yet
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except ValueError:  # the first of them is cut
            continue
        if "elapsed_seconds" in row:
            return row
    return None


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    """The exit code, None while it runs; waits a moment."""
    try:
        return process.wait(LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _budget(config: PretrainConfig) -> tuple[float, str]:
    for value, unit in (
        (config.time, "s"),
        (config.tokens, "tokens"),
        (config.steps, "steps"),
        (config.epochs, "epochs"),
    ):
        if value is not None:
            return value, unit
    raise AssertionError("a comparison has a budget")


def _spent(config: PretrainConfig, row: Row) -> float:
    key = next(
        key
        for value, key in (
            (config.time, "elapsed_seconds"),
            (config.tokens, "tokens"),
            (config.steps, "step"),
            (config.epochs, "epoch"),
        )
        if value is not None
    )
    return row.get(key, 0.0)


def _info(row: Row) -> str:
    return f"step {row['step']:,} · loss {row['train_loss']:.3f} · {row['tokens_per_second']:,.0f} tokens/s"
