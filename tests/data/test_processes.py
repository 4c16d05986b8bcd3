"""Preparation by several processes: to the byte what one stream writes, whoever is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from groundup.core.errors import GroundupError
from groundup.data import tasks
from groundup.data.prepare import prepare
from groundup.data.remarks import counted
from groundup.data.store import TokenStore
from groundup.data.tokenizer_training import train_tokenizer
from groundup.tokenization.tokenizer import Tokenizer

from .conftest import Listening

WORDS = ["the", "a", "cat", "dog", "house", "green", "runs", "sleeps", "and", "of", "Ärger", "don't", "<|endoftext|>"]


def story(i: int, n: int) -> str:
    chance = random.Random(i)
    return "".join(chance.choice(WORDS) + chance.choice([" ", " ", ", ", "\n"]) for _ in range(n))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rows(path: Path, start: int, n: int) -> None:
    texts = [{"text": story(i, 50)} for i in range(start, start + n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in texts))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six files: rows, some of them bad or empty; long texts; one that is left out."""
    folder = tmp_path_factory.mktemp("corpus")
    for k in range(3):
        rows(folder / f"{k}.jsonl", 100 * k, 60)
    with open(folder / "1.jsonl", "a") as file:
        file.write('{"text": ""}\n{"text": 5}\n')
    with open(folder / "2.jsonl", "a") as file:
        file.write('{"text": ""}\n{"text": 6}\n{"other": 1}\n')
    (folder / "3.txt").write_text(story(1, 3000))
    (folder / "4.md").write_text(story(2, 2000))
    (folder / "5.docx").write_text("no document")
    return folder


@pytest.fixture(scope="module")
def tokenizer(corpus: Path) -> Tokenizer:
    return train_tokenizer(corpus / "3.txt", vocab_size=300)


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch) -> None:
    monkeypatch.setattr(tasks, "TASK_BYTES", (1, 20_000))


SETTINGS = {"on_bad_row": "skip", "tokens_per_shard": 2000}


@pytest.fixture(scope="module")
def one_stream(corpus: Path, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one") / "data"
    store = prepare(corpus, tokenizer, out, **SETTINGS)
    assert store.split("train").n_shards >= 8 and len(store.manifest["remarks"]) >= 5
    return out


def test_two_workers_write_the_bytes_of_one_stream(
    corpus: Path, tokenizer: Tokenizer, one_stream: Path, tmp_path: Path
) -> None:
    reporter = Listening()
    prepare(corpus, tokenizer, tmp_path / "data", n_workers=2, reporter=reporter, **SETTINGS)
    assert content(tmp_path / "data") == content(one_stream)
    manifest = json.loads((tmp_path / "data/manifest.json").read_text())
    assert reporter.warned == [counted(count, what) for what, count in manifest["remarks"].items()]


@pytest.mark.parametrize(
    ("names", "settings", "split_by"),
    [
        (["3.txt", "4.md"], {}, "block"),
        (["3.txt", "0.jsonl", "4.md"], {"validation_fraction": 0.3, "n_threads": 2}, "document"),
        (["4.md", "3.txt"], {"validation_fraction": 0.0}, "none"),
    ],
)
def test_every_kind_of_split(
    corpus: Path, tokenizer: Tokenizer, tmp_path: Path, names: list[str], settings: dict, split_by: str
) -> None:
    paths = [corpus / name for name in names]
    store = prepare(paths, tokenizer, tmp_path / "one", tokens_per_shard=700, **settings)
    assert store.manifest["split_by"] == split_by
    prepare(paths, tokenizer, tmp_path / "two", tokens_per_shard=700, n_workers=2, **settings)
    assert content(tmp_path / "two") == content(tmp_path / "one")


def test_done_work_is_found_done_by_both(corpus: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    out = tmp_path / "data"
    prepare(corpus / "0.jsonl", tokenizer, out, n_workers=1)
    before = content(out)
    for n_workers in (None, 2):
        reporter = Listening()
        prepare(corpus / "0.jsonl", tokenizer, out, n_workers=n_workers, reporter=reporter)
        assert "nothing to do" in reporter.said[-1]
    assert content(out) == before


def test_names_relative_to_the_folder_one_is_in(
    corpus: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(corpus)
    prepare(["1.jsonl", "2.jsonl"], tokenizer, tmp_path / "one", **SETTINGS)
    prepare(["1.jsonl", "2.jsonl"], tokenizer, tmp_path / "two", n_workers=2, **SETTINGS)
    assert content(tmp_path / "two") == content(tmp_path / "one")


def test_what_a_worker_cannot_read_is_told_and_the_old_store_stays(
    tokenizer: Tokenizer, one_stream: Path, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "data"
    prepare(corpus / "0.jsonl", tokenizer, out)
    before = content(out)
    with pytest.raises(GroundupError, match=r"[12]\.jsonl:62: field 'text' is not text"):
        prepare(corpus, tokenizer, out, n_workers=2, tokens_per_shard=2000)
    after = {name: data for name, data in content(out).items() if not name.startswith("preparing/")}
    assert after == before
    TokenStore.open(out)
    prepare(corpus, tokenizer, out, n_workers=2, **SETTINGS)
    assert content(out) == content(one_stream)


# ---- interrupted

KILLED_AT = """
    import os, signal
    from groundup.data import tasks
    from groundup.data.prepare import prepare
    from groundup.tokenization.tokenizer import Tokenizer
    tasks.TASK_BYTES = (1, 20_000)
    events, replace = 0, os.replace
    def killing(*arguments):  # every file of this process takes its place by this call
        global events
        events += 1
        if events == {event}:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*arguments)
    os.replace = killing
    prepare({corpus!r}, Tokenizer.load({tokenizer!r}), {out!r}, n_workers=2, on_bad_row="skip", tokens_per_shard=2000)
"""


@pytest.fixture
def start(corpus: Path, tokenizer: Tokenizer, tmp_path: Path):
    """Start a preparation with two workers into `tmp_path / data`, to be killed at its n-th renaming."""
    tokenizer.save(tmp_path / "tokenizer")

    def start(event: int = 0) -> subprocess.Popen:
        values = {"corpus": str(corpus), "tokenizer": str(tmp_path / "tokenizer"), "out": str(tmp_path / "data")}
        return subprocess.Popen([sys.executable, "-c", textwrap.dedent(KILLED_AT).format(event=event, **values)])

    return start


def finished(out: Path, stage: str) -> int:
    return len(list(out.glob(f"preparing/*/{stage}-*.npz")))


@pytest.mark.parametrize(("event", "kept"), [(2, "nothing"), (4, "surveys"), (5, "parts"), (12, "shards")])
def test_the_one_who_leads_is_killed(
    corpus: Path, tokenizer: Tokenizer, one_stream: Path, tmp_path: Path, start, event: int, kept: str
) -> None:
    out = tmp_path / "data"
    assert start(event).wait() == -signal.SIGKILL
    with pytest.raises(GroundupError, match=r"no manifest|in part|not prepared"):
        TokenStore.open(out)
    assert (finished(out, "survey") > 0) == (kept != "nothing")
    assert (finished(out, "encode") > 0) == (kept in ("parts", "shards"))
    assert bool(list(out.glob("*.tokens"))) == (kept == "shards")
    reporter = Listening()
    prepare(corpus, tokenizer, out, n_workers=2, reporter=reporter, **SETTINGS)
    assert any("going on after" in line for line in reporter.said) == (kept != "nothing")
    assert content(out) == content(one_stream)


SITE = """
    import os, signal, sys
    if "groundup.data.processes" in sys.orig_argv:
        replace = os.replace
        def killing(temporary, path):
            if path.name == {name!r}:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(temporary, path)
        os.replace = killing
"""


@pytest.mark.parametrize("name", ["survey-00005.npz", "part-00002-train.tokens", "encode-00003.npz"])
def test_a_worker_is_killed(
    corpus: Path, tokenizer: Tokenizer, one_stream: Path, tmp_path: Path, monkeypatch, name: str
) -> None:
    """It is told, and not waited for; what the others finished is kept."""
    out = tmp_path / "data"
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(SITE).format(name=name))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(GroundupError, match=r"ended with code -9 at .*(jsonl|txt|md|docx); if memory"):
        prepare(corpus, tokenizer, out, n_workers=2, **SETTINGS)
    n_files = len(list(corpus.iterdir()))
    assert not list(out.glob(f"preparing/*/{name}"))
    assert finished(out, "survey") == n_files if name[0] != "s" else 1 <= finished(out, "survey") < n_files
    monkeypatch.undo()
    monkeypatch.setattr(tasks, "TASK_BYTES", (1, 20_000))
    reporter = Listening()
    prepare(corpus, tokenizer, out, n_workers=2, reporter=reporter, **SETTINGS)
    assert any("going on after" in line for line in reporter.said)
    assert content(out) == content(one_stream)


def test_everyone_is_killed_by_the_clock_again_and_again(
    corpus: Path, tokenizer: Tokenizer, one_stream: Path, tmp_path: Path, start
) -> None:
    out = tmp_path / "data"
    for seconds in (0.8, 1.2):
        parent = start()
        time.sleep(seconds)
        with suppress(psutil.NoSuchProcess):
            started = psutil.Process(parent.pid)
            started.suspend()  # or it may start a worker that is not among those counted here
            for process in [*started.children(), started]:
                process.kill()
        parent.wait()
    prepare(corpus, tokenizer, out, n_workers=2, **SETTINGS)
    assert content(out) == content(one_stream)


def test_one_stream_takes_over_and_clears_away_what_workers_left(
    corpus: Path, tokenizer: Tokenizer, one_stream: Path, tmp_path: Path, start
) -> None:
    assert start(8).wait() == -signal.SIGKILL
    prepare(corpus, tokenizer, tmp_path / "data", **SETTINGS)
    assert content(tmp_path / "data") == content(one_stream)


def test_parts_of_another_text_are_not_taken_up(corpus: Path, tokenizer: Tokenizer, tmp_path: Path, start) -> None:
    out = tmp_path / "data"
    assert start(8).wait() == -signal.SIGKILL
    (old,) = (out / "preparing").iterdir()
    prepare(corpus, tokenizer, out, n_workers=2, seed=1, **SETTINGS)
    prepare(corpus, tokenizer, tmp_path / "fresh", seed=1, **SETTINGS)
    assert content(out) == content(tmp_path / "fresh")
    assert not old.exists()
