"""Workers: every document once, in order, whoever is quick."""

from __future__ import annotations

import subprocess

import pytest

from groundup.core.errors import GroundupError
from groundup.data.cleaning import workers
from groundup.data.cleaning.documents import Document
from groundup.data.cleaning.settings import CleanConfig
from groundup.data.cleaning.workers import judged

SETTINGS = CleanConfig(rules=("length", "hidden", "symbols"))


def documents(count: int) -> list[Document]:
    return [Document(i, "a", i, f"text {i} \u200b é \ud83d" if i % 3 else "x" * 5000) for i in range(count)]


def test_the_same_verdicts_in_the_same_order(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "BATCH_CHARACTERS", 4000)
    alone = list(judged(iter(documents(60)), SETTINGS, tmp_path, True, 1))
    together = list(judged(iter(documents(60)), SETTINGS, tmp_path, True, 3))
    assert together == alone
    assert [document.number for document, _ in alone] == list(range(60))
    assert alone[1][1].edits == {"hidden": 1} and alone[0][1].failed == [("longest_word", 5000)]


def test_nothing_in_nothing_out(tmp_path):
    assert list(judged(iter([]), SETTINGS, tmp_path, True, 2)) == []


def test_processes_end_with_the_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "BATCH_CHARACTERS", 4000)
    processes = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: processes.append(popen(*a, **k)) or processes[-1])
    stream = judged(iter(documents(60)), SETTINGS, tmp_path, True, 2)
    next(stream)
    stream.close()
    assert len(processes) == 2 and all(process.poll() is not None for process in processes)


def test_a_worker_that_cannot_start_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_MODULE", "groundup.no_such_module")
    with pytest.raises(GroundupError, match="a worker process ended with code 1 at a#0; if memory ran out"):
        list(judged(iter(documents(3)), SETTINGS, tmp_path, True, 2))
