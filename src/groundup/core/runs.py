"""The run folder: everything one training run was given and everything it did, in files any tool can read.

The one idea: a run is a folder, and the folder is enough. `config.yaml` is what was asked, `environment.json` where it
ran, `metrics.jsonl` what happened at each step, `summary.json` what it came to, `model/` the result, `state/` where to
go on from. One process writes at a time (a lock says so); any number may read while it does.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydantic

from groundup.core.config import Config, read_yaml
from groundup.core.device import machine_info
from groundup.core.errors import GroundupError, nearest
from groundup.core.files import (
    clear_write_errors,
    flush_to_disk,
    lock_folder,
    read_json,
    recover_retired,
    write_atomically,
    write_json,
)
from groundup.core.tensorboard import opening_records, scalars_record

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class TokenizerSummary:
    """The tokenizer of a run, for its report. `pieces` is a short text cut into (id, piece)."""

    algorithm: str | None = None
    vocab_size: int | None = None
    bytes_per_token: float | None = None
    sha256: str | None = None
    pieces: tuple[tuple[int, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class SourceSummary:
    """One file the text came from."""

    path: str
    n_bytes: int | None = None
    sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class SplitSummary:
    """What one side of the train/validation split holds."""

    n_documents: int | None = None
    n_tokens: int | None = None
    n_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class MixtureSummary:
    """One source of a mixture: its share of the rows, what was read of it, and the scores on its validation text."""

    name: str
    share: float | None = None
    n_tokens: int | None = None
    n_tokens_read: int | None = None
    epochs: float | None = None
    val_loss: float | None = None
    val_bits_per_byte: float | None = None


@dataclasses.dataclass(frozen=True)
class DataSummary:
    """The text of a run: its files, its splits (`train`, `validation`), how they were made, and its mixture if it is one."""

    sources: tuple[SourceSummary, ...] = ()
    splits: dict[str, SplitSummary] = dataclasses.field(default_factory=dict)
    note: str | None = None
    mixture: tuple[MixtureSummary, ...] = ()


@dataclasses.dataclass(frozen=True)
class CostSummary:
    """What the run took. `training_seconds` is the training clock; `wall_seconds` counts everything."""

    training_seconds: float | None = None
    wall_seconds: float | None = None
    compile_seconds: float | None = None
    n_tokens: int | None = None
    flops: float | None = None
    peak_memory_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Forecast:
    """One figure the planner foretold and what came; `unit` is one of seconds, bytes, tokens or a word to show."""

    name: str
    expected: float | None = None
    actual: float | None = None
    unit: str = ""


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """What a report tells besides the metrics. Every part is optional: a run fills in what it knows so far.

    `model` and `checks` are shown as they are: a name and a value a line (layers and widths; what was verified and the
    figure it gave). `next_commands` are whole command lines.
    """

    title: str | None = None
    status: str = "running"
    architecture: str | None = None
    n_parameters: int | None = None
    context_length: int | None = None
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    tokenizer: TokenizerSummary | None = None
    data: DataSummary | None = None
    cost: CostSummary | None = None
    val_loss: float | None = None
    val_perplexity: float | None = None
    val_bits_per_byte: float | None = None
    forecasts: tuple[Forecast, ...] = ()
    checks: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    next_commands: tuple[str, ...] = ()


class RunFolder:
    """One run on disk. Made by `create` (a new run), or `open` (to read, or with `writing=True` to go on with it).

    A folder open for writing is locked until `close`, or until the process ends; it is a context manager.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.environment = self.path / "environment.json"
        self.metrics = self.path / "metrics.jsonl"
        self.samples = self.path / "samples.jsonl"
        self.plan = self.path / "plan.json"
        self.summary = self.path / "summary.json"
        self.report = self.path / "report.html"
        self.tensorboard = self.path / "tensorboard"
        self.model = self.path / "model"
        self.state = self.path / "state"
        self._lock: int | None = None
        self._events: _LineFile | None = None
        self._logs: dict[Path, _LineFile] = {}

    @classmethod
    def create(cls, path: str | Path, config: Config, command: Iterable[str], extra: Row | None = None) -> RunFolder:
        """Begin a run at `path`, open for writing: `config` is what was resolved, `command` the command line.

        `extra` (hashes of the data and the tokenizer) joins the machine and the versions in `environment.json`. Raises
        `GroundupError` when `path` already holds a run or a model, or is being written by another process.
        """
        run = cls(path)
        with clear_write_errors(run.path):
            run.path.mkdir(parents=True, exist_ok=True)
        run._acquire()
        try:
            held = [place.name for place in (run.config, run.metrics, run.model, run.state) if place.exists()]
            if held:
                raise GroundupError(
                    f"{run.path} already holds a run ({', '.join(held)}); "
                    f"`groundup resume {run.path}` goes on with it, or choose another --out"
                )
            started_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            environment = {"command": list(command), "started_at": started_at, **machine_info(), **(extra or {})}
            write_json(run.environment, environment)
            config.write(run.config)  # last: a folder with config.yaml is a run
        except BaseException:
            run.close()
            raise
        return run

    @classmethod
    def open(cls, path: str | Path, *, writing: bool = False) -> RunFolder:
        """The run at `path`. Raises `GroundupError` when it holds none, or `writing` and another process writes it."""
        run = cls(path)
        if not run.config.is_file():
            raise _no_run(run.path)
        if writing:
            run._acquire()
            recover_retired(run.model)
            for partial in run.path.glob(".*.partial"):  # what a killed process left; nobody else writes here now
                shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
        return run

    def close(self) -> None:
        """Let others write; harmless when already closed."""
        for file in [*self._logs.values(), *([self._events] if self._events else [])]:
            file.close()
        self._logs, self._events = {}, None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def log(self, row: Row) -> None:
        """Append one step's figures to `metrics.jsonl` and the numbers among them to TensorBoard.

        `row` has a `step`. Numbers that are not finite become null, which is what JSON has. The line is with the
        operating system when this returns, so a kill does not lose it; a full disk raises `GroundupError` and leaves
        the lines before it whole.
        """
        self._append(self.metrics, row)
        scalars = {k: float(v) for k, v in row.items() if k != "step" and isinstance(v, int | float)}
        if self._events is None:
            self._events = self._new_event_file(row["step"])
        self._events.append(scalars_record(row["step"], scalars))

    def log_sample(self, step: int, prompt: str, text: str, **more: Any) -> None:
        """Append to `samples.jsonl` what the model wrote after `prompt` at `step` (0: before training)."""
        self._append(self.samples, {"step": step, "prompt": prompt, "text": text, **more})

    def flush(self) -> None:
        """Return when every line so far would survive a power cut too; call it before a training state is saved."""
        for path in self._logs:
            with clear_write_errors(path):
                flush_to_disk(path)

    def read_metrics(self) -> list[Row]:
        """All rows so far, oldest first. A last line cut short by a kill is left out; another broken line raises."""
        return _read_rows(self.metrics)

    def read_samples(self) -> list[Row]:
        """All samples so far, oldest first."""
        return _read_rows(self.samples)

    def truncate_metrics(self, after_step: int) -> None:
        """Forget metrics and samples of steps past `after_step`, so that a resumed run writes each step once."""
        assert self._lock is not None, "open the run for writing first"
        for path in (self.metrics, self.samples):
            if file := self._logs.pop(path, None):
                file.close()
            if path.exists():
                rows = [row for row in _read_rows(path) if row["step"] <= after_step]
                write_atomically(path, "".join(_line(row) for row in rows))
        if self._events is not None:
            self._events.close()
        if self.tensorboard.exists():
            self._events = self._new_event_file(after_step + 1)

    def write_summary(self, summary: RunSummary) -> None:
        """Write `summary.json`, replacing the one before."""
        write_json(self.summary, _finite(dataclasses.asdict(summary)))

    def read_summary(self) -> RunSummary:
        """The newest summary; an empty one when the run has written none yet."""
        if not self.summary.exists():
            return RunSummary()
        try:
            return pydantic.TypeAdapter(RunSummary).validate_python(read_json(self.summary))
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise GroundupError(f"{self.summary}: {where} is {problem['input']!r}: {problem['msg']}") from None

    def _acquire(self) -> None:
        """Lock the folder for this process; the lock goes when the process does, however it ends."""
        self._lock = lock_folder(self.path)

    def _append(self, path: Path, row: Row) -> None:
        assert self._lock is not None, "open the run for writing first"
        if path not in self._logs:
            self._logs[path] = _LineFile(path)
        self._logs[path].append(_line(row).encode("utf-8", "backslashreplace"))

    def _new_event_file(self, first_step: int) -> _LineFile:
        with clear_write_errors(self.tensorboard):
            self.tensorboard.mkdir(exist_ok=True)
        file = _LineFile(self.tensorboard / f"events.out.tfevents.{time.time_ns()}.groundup")
        file.append(opening_records(first_step))
        return file


def method_of(path: str | Path) -> str | None:
    """The method of fine-tuning of the run at `path`; None when it is a pretraining. Raises as `RunFolder.open`."""
    return read_yaml(RunFolder.open(path).config).get("method")


@contextmanager
def undone_when_refused(path: Path, before: set[Path], begun: Iterable[Path] = ()) -> Iterator[None]:
    """Take back what a run made that is refused (`GroundupError`) before it has a plan; what was there `before` stays.

    `begun` are other files of which one says that there is something to keep: the plans of a folder of runs.
    """
    try:
        yield
    except GroundupError:
        if path.is_dir() and not any(file.exists() for file in (RunFolder(path).plan, *begun)):
            for made in set(path.iterdir()) - before:
                shutil.rmtree(made) if made.is_dir() else made.unlink()
            if not before:
                path.rmdir()
        raise


class _LineFile:
    """A file that grows by whole records: an append that fails is undone, and a cut last line is dropped on opening."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with clear_write_errors(path):
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - open for as long as the run is
            if path.suffix == ".jsonl":
                self._file.seek(0)
                self._file.truncate(_end_of_whole_lines(self._file.read()))

    def append(self, record: bytes) -> None:
        start = os.fstat(self._file.fileno()).st_size
        with clear_write_errors(self._path):
            try:
                rest = memoryview(record)
                while rest:  # the system may take a part and refuse the rest
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._file.truncate(start)
                raise

    def close(self) -> None:
        self._file.close()


def _end_of_whole_lines(content: bytes) -> int:
    return content.rfind(b"\n") + 1


def _read_rows(path: Path) -> list[Row]:
    """The JSON objects of a `.jsonl` file that may still be growing."""
    if not path.exists():
        return []
    content = path.read_bytes()
    rows = []
    for number, line in enumerate(content[: _end_of_whole_lines(content)].split(b"\n")[:-1], start=1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise GroundupError(
                f"{path}, line {number}: not valid JSON; delete that line to go on without it"
            ) from None
    return rows


def _line(row: Row) -> str:
    return json.dumps(_finite(row), ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """`value` with every number that JSON does not have (NaN, infinities) replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _no_run(path: Path) -> GroundupError:
    """The error for a `path` that is no run, with the nearest run beside it."""
    runs = [p.parent.name for p in path.parent.glob("*/config.yaml")] if path.parent.is_dir() else []
    guess = nearest(path.name, runs)
    found = "is not a run folder (it has no config.yaml)" if path.exists() else "does not exist"
    return GroundupError(f"{path} {found}" + (f"; did you mean {path.parent / guess}?" if guess else ""))
