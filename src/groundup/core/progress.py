"""How long work speaks to the person who waits for it.

Rooms never print. They take a `Reporter` and say things to it; the default is silent, the command line and notebooks
pass a `Terminal`. A bar always gets its true total.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text


class Bar:
    """One running task: `advance` by what was done, `set` to where it stands; `info` is shown beside the bar."""

    def advance(self, amount: float = 1, info: str | None = None) -> None: ...

    def set(self, completed: float, info: str | None = None, total: float | None = None) -> None: ...


class Reporter:
    """Hears everything and says nothing; the base class of those that speak."""

    def say(self, text: str = "") -> None:
        """A line for the person: what was found, decided or written."""

    def warn(self, text: str) -> None:
        """A line about something the person may not expect."""

    @contextmanager
    def bar(self, label: str, total: float, unit: str = "", begun: float = 0) -> Iterator[Bar]:
        """A progress bar over `total` units of work, `begun` of them done before; it ends when the block ends."""
        yield Bar()


QUIET = Reporter()


class SaidOnce(Reporter):
    """Passes on what it hears, but no line twice: for steps one after the other that each read the same text."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._said: set[tuple[str, str]] = set()

    def say(self, text: str = "") -> None:
        if self._is_new("say", text):
            self._reporter.say(text)

    def warn(self, text: str) -> None:
        if self._is_new("warn", text):
            self._reporter.warn(text)

    @contextmanager
    def bar(self, label: str, total: float, unit: str = "", begun: float = 0) -> Iterator[Bar]:
        with self._reporter.bar(label, total, unit, begun) as bar:
            yield bar

    def _is_new(self, kind: str, text: str) -> bool:
        known = len(self._said)
        self._said.add((kind, text))
        return len(self._said) > known


class _Remaining(ProgressColumn):
    """Time left, from the average speed so far: it never jumps with one slow step.

    What was done before this bar began (a resumed run's) took none of its time.
    """

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        if not task.total or not task.completed or task.elapsed is None:
            return Text("--:-- left", style="progress.remaining")
        done_here = task.completed - task.fields["begun"]
        if done_here <= 0:
            return Text("--:-- left", style="progress.remaining")
        seconds = int(max(0.0, task.elapsed * (task.total - task.completed) / done_here))
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"
        return Text(f"{clock} left", style="progress.remaining")


class _TerminalBar(Bar):
    def __init__(self, progress: Progress, task_id) -> None:
        self._progress, self._task_id = progress, task_id

    def advance(self, amount: float = 1, info: str | None = None) -> None:
        self._progress.update(self._task_id, advance=amount)
        self._tell(info)

    def set(self, completed: float, info: str | None = None, total: float | None = None) -> None:
        self._progress.update(self._task_id, completed=completed, total=total)
        self._tell(info)

    def _tell(self, info: str | None) -> None:
        if info is not None:
            self._progress.update(self._task_id, info=info)


class Terminal(Reporter):
    """Speaks on a terminal; when the output is a file or a pipe, bars are left out and lines stay."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)

    def say(self, text: str = "") -> None:
        self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        self.console.print(f"note: {text}", style="yellow", markup=False)

    @contextmanager
    def bar(self, label: str, total: float, unit: str = "", begun: float = 0) -> Iterator[Bar]:
        if not self.console.is_terminal:
            yield Bar()
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            _Remaining(),
            TextColumn("{task.fields[info]}", markup=False),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            task_id = progress.add_task(label, total=total, info=unit, begun=begun)
            progress.update(task_id, completed=begun)
            yield _TerminalBar(progress, task_id)
