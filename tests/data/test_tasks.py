from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from groundup.core.errors import GroundupError
from groundup.core.progress import QUIET
from groundup.data import tasks
from groundup.data.prepare import prepare
from groundup.data.reading import Reading
from groundup.data.tasks import Work, assemble, run_task, settle
from groundup.data.tokenizer_training import train_tokenizer
from groundup.tokenization.tokenizer import Tokenizer

SETTINGS = {
    "validation_fraction": 0.1,
    "validation_most_bytes": 20_000_000,
    **Reading().settings(),
    "seed": 0,
    "tokens_per_shard": 300,
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for k in range(5):
        rows = [{"text": f"row {k} {i}, and " + "more words " * (i % 5)} for i in range(20)]
        (folder / f"{k}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def tokenizer(corpus: Path) -> Tokenizer:
    return train_tokenizer(corpus, vocab_size=275)


@pytest.fixture
def work(corpus: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch) -> Work:
    monkeypatch.setattr(tasks, "TASK_BYTES", (1, 2000))
    return Work.begin(tmp_path / "data", tokenizer, Reading().sources(corpus), Reading(), SETTINGS, {"things": 3})


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_work_is_read_as_it_was_written(work: Work) -> None:
    again = Work.open(work.folder)
    assert replace(again, out=work.out) == work
    assert again.out == work.out.absolute()


def test_tasks_are_runs_of_sources_that_depend_on_sizes_alone(monkeypatch) -> None:
    monkeypatch.setattr(tasks, "TASK_BYTES", (10, 100))
    assert tasks._cut([3, 3, 3, 3, 50, 1, 1]) == [(0, 4), (4, 5), (5, 7)]
    assert tasks._cut([500, 20]) == [(0, 1), (1, 2)]
    runs = tasks._cut([7] * 4000)  # 28,000 bytes at 100 a task
    assert len(runs) == 267 and runs[0] == (0, 15) and runs[-1][1] == 4000
    assert [end for _, end in runs[:-1]] == [begin for begin, _ in runs[1:]]
    assert len(tasks._cut([1] * 320)) == tasks.FEWEST_TASKS


def test_stages_in_any_order_of_tasks_make_the_store_of_one_stream(
    work: Work, corpus: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    n = len(work.tasks)
    assert n >= 3 and work.unfinished("survey") == list(range(n))
    heard: Counter[str] = Counter()
    for task in reversed(range(n)):
        run_task(work, "survey", task, advance=lambda n_bytes: heard.update(files=n_bytes))
    assert heard["files"] == sum(path.stat().st_size for path in corpus.iterdir())
    plan = settle(work, tokenizer)
    assert plan == settle(work, tokenizer)  # the second time from disk
    assert plan.found.n_documents == 100 and plan.first_documents[-1] < 100
    for task in [1, 0, *range(2, n)]:
        run_task(work, "encode", task)
    store = assemble(work, tokenizer, QUIET)
    assert store.manifest.pop("remarks") == {"things": 3}
    prepare(corpus, tokenizer, tmp_path / "one", tokens_per_shard=300)
    found, one = content(work.out), content(tmp_path / "one")
    assert found.pop("manifest.json") != one.pop("manifest.json")  # it tells of the three things
    assert found == one and len([name for name in one if name.startswith("train-")]) >= 5


def test_a_finished_task_is_not_done_again(work: Work, corpus: Path) -> None:
    run_task(work, "survey", 0)
    before = work.file("survey", 0).stat().st_mtime_ns
    (corpus / "0.jsonl").unlink()
    run_task(work, "survey", 0)
    assert work.file("survey", 0).stat().st_mtime_ns == before
    assert work.unfinished("survey") == list(range(1, len(work.tasks)))


def test_a_file_that_changes_in_between_is_noticed(work: Work, corpus: Path, tokenizer: Tokenizer) -> None:
    for task in range(len(work.tasks)):
        run_task(work, "survey", task)
    settle(work, tokenizer)
    with open(corpus / "0.jsonl", "a") as file:
        file.write('{"text": "late"}\n')
    with pytest.raises(GroundupError, match=r"0\.jsonl changed while it was being read"):
        run_task(work, "encode", 0)
    assert not work.file("encode", 0).exists()


def test_one_that_outlives_its_preparation_brings_nothing_back(
    work: Work, corpus: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    other = Work.begin(tmp_path / "data", tokenizer, work.sources, Reading(), SETTINGS | {"seed": 1}, {})
    assert other.folder != work.folder and not work.folder.exists()
    with pytest.raises(OSError):
        run_task(work, "survey", 0)
    assert not work.folder.exists()


def test_a_missing_part_is_named(work: Work, tokenizer: Tokenizer) -> None:
    with pytest.raises(GroundupError, match=r"survey-00000\.npz is missing; run the same"):
        settle(work, tokenizer)


def test_counts_of_parts_added_up_are_those_of_the_whole(corpus: Path) -> None:
    from groundup.data.split import Counts, count

    sources = Reading().sources(corpus)
    whole, sum_of_parts = count(sources, Reading(), 5, Counter()), Counts()
    for source in sources:
        part = count([source], Reading(), 5, Counter())
        used = np.flatnonzero(part.bucket_bytes)
        sum_of_parts.add(part.n_documents, used, part.bucket_bytes[used], part.lengths)
    assert vars(sum_of_parts).keys() == vars(whole).keys()
    assert (
        (sum_of_parts.n_documents, sum_of_parts.lengths) == (whole.n_documents, whole.lengths) == (100, whole.lengths)
    )
    assert (sum_of_parts.bucket_bytes == whole.bucket_bytes).all() and whole.n_bytes > 2000
