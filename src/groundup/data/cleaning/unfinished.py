"""What a cleaning that was killed leaves behind, so that the same call goes on.

The one idea: judging is what takes long, and a verdict depends on its document and the settings alone. So verdicts are
kept, in files that are whole or absent, until the cleaned folder is there; whoever goes on takes them as they are, and
compares and writes as if they had come this moment. All lies in `.NAME.cleaning` beside the folder, under one key (a hash of
settings, sources and libraries): of any other key nothing is taken up. The text of a verdict is kept only where it is not
the document's.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from groundup.core.errors import GroundupError
from groundup.core.files import (
    clear_write_errors,
    file_written_atomically,
    folder_written_atomically,
    lock_folder,
    read_json,
    write_json,
)
from groundup.core.progress import Reporter
from groundup.data.cleaning.documents import Document
from groundup.data.cleaning.judge import Verdict
from groundup.data.cleaning.survey import Survey, load_survey
from groundup.data.cleaning.workers import Judged

PART_CHARACTERS = 1 << 24  # of the documents judged: what a kill can cost is some seconds a core
_PLAN = "plan.json"


class Unfinished:
    """The folder of verdicts of one cleaning; open it, take from it, and `close` it when the work is done or given up."""

    def __init__(self, folder: Path, lock: int) -> None:
        self._folder, self._lock = folder, lock

    @classmethod
    def open(cls, out: Path, key: str, reporter: Reporter) -> Unfinished:
        """Take up what there is for the cleaned folder `out` under this `key`, or begin.

        Raises `GroundupError` when another process is at work on it.
        """
        folder = place_beside(out)
        with clear_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            found = cls(folder, lock_folder(folder))
            try:
                old = read_json(folder / _PLAN).get("key") if (folder / _PLAN).exists() else None
            except GroundupError:
                old = ""  # damaged: begun anew, as with another key
            if old is not None and old != key:
                reporter.say(
                    f"{out}: text, settings or libraries are not those of the interrupted cleaning; begun anew"
                )
            for left in folder.iterdir():
                # Of the same key, all but what was being written when the kill came.
                if left.name != ".lock" and (old != key or left.name.startswith(".")):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
        if old != key:
            write_json(folder / _PLAN, {"key": key})
        elif n_parts := found.n_parts:
            reporter.say(f"{out}: going on after {n_parts} finished {'part' if n_parts == 1 else 'parts'}")
        return found

    @property
    def n_parts(self) -> int:
        """How many parts are finished."""
        return next(number for number in count() if not self._part(number).exists())

    @property
    def findings(self) -> Path:
        """The folder of the survey."""
        return self._folder / "findings"

    def surveyed(self, survey: Callable[[Path], Survey]) -> Survey:
        """The survey, made into a folder that is whole or absent."""
        if not self.findings.exists():
            with folder_written_atomically(self.findings) as folder:
                survey(folder)
        return load_survey(self.findings)

    def judged(
        self, documents: Iterator[Document], judge: Callable[[Iterator[Document]], Iterator[Judged]]
    ) -> Iterator[Judged]:
        """Every document with its verdict: the finished parts' first, then what `judge` says, kept part by part."""
        n_parts = self.n_parts
        for number in range(n_parts):
            with open(self._part(number), encoding="ascii") as file:
                for line, document in zip(file, documents, strict=False):
                    yield document, _verdict(line, document)
        judgements = judge(documents)
        while n_parts >= 0:
            with file_written_atomically(self._part(n_parts)) as file:
                held, n_parts = 0, n_parts + 1
                for document, verdict in judgements:
                    file.write(_line(verdict, document))
                    held += len(document.text)
                    yield document, verdict
                    if held >= PART_CHARACTERS:
                        break
                else:
                    n_parts = -1

    def close(self, *, done: bool) -> None:
        """Let go of the folder; with `done` it is removed, for the cleaned text is where it belongs."""
        if done:
            shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)

    def _part(self, number: int) -> Path:
        return self._folder / f"verdicts-{number:05d}.jsonl"


def place_beside(out: Path) -> Path:
    """Where the verdicts for a cleaned folder `out` lie until it is there."""
    return out.parent / f".{out.name}.cleaning"


def _line(verdict: Verdict, document: Document) -> bytes:
    row = verdict.as_json()
    if verdict.text == document.text:
        row["text"] = None
    return json.dumps(row).encode("ascii") + b"\n"


def _verdict(line: str, document: Document) -> Verdict:
    row = json.loads(line)
    if row["text"] is None:
        row["text"] = document.text
    return Verdict.from_json(row)
