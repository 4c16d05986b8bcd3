"""The commands in the README and the tutorial work as written, in the order they stand there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def commands(document: Path) -> list[str]:
    """The `groundup ...` lines of the sh blocks of a Markdown file, comments left out."""
    blocks = re.findall(r"```sh\n(.*?)```", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("groundup ")]


def run(command: str, folder: Path) -> str:
    words = shlex.split(command)
    assert words[0] == "groundup"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "groundup", *words[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tutorial_works_as_written(tmp_path: Path):
    outputs = {command: run(command, tmp_path) for command in commands(ROOT / "docs" / "tutorial.md")}
    assert len(outputs) >= 12
    written = next(text for command, text in outputs.items() if command.startswith("groundup generate"))
    assert written.startswith("The function returns")
    texts = written.split("The function returns")[1:]
    assert len(texts) == 3
    # More than two new words a text; a busy machine trains few steps, and one of them may end at once.
    assert sum(len(text.split()) for text in texts) > 2 * len(texts)
    verified = next(text for command, text in outputs.items() if command.startswith("groundup verify"))
    difference = float(re.search(r"max \|logit difference\| (\S+)", verified)[1])  # type: ignore[index]
    assert difference < 1e-4
    steps = next(text for command, text in outputs.items() if command.startswith("groundup inspect mechanisms --html"))
    for context in ("0.4419 0.6515 0.5683", "0.3061 0.8210"):  # as the tutorial and the textbook print them
        assert context in steps and context in (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    assert (tmp_path / "runs/first/report.html").stat().st_size > 10_000
    assert (tmp_path / "attention.html").stat().st_size > 5_000


def test_every_command_the_documents_name_exists():
    """A command in prose or a comment that was renamed is found here without being run."""
    from groundup.cli import command_files

    known = command_files()
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for line in re.findall(r"(?m)^groundup ([a-z-]+(?: [a-z-]+)?)", document.read_text(encoding="utf-8")):
            words = tuple(line.split())
            assert words in known or words[:1] in known, f"{document.name}: groundup {line}"
