from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.core.progress import Bar, Reporter
from groundup.data import verification
from groundup.data.prepare import prepare
from groundup.data.verification import Verified, verify_sources


class Listening(Reporter):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self.totals: list[float] = []
        self.done = 0.0

    def say(self, text: str = "") -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def bar(self, label: str, total: float, unit: str = "", begun: float = 0):
        from contextlib import contextmanager

        listening = self

        class Counting(Bar):
            def advance(self, amount: float = 1, info: str | None = None) -> None:
                listening.done += amount

        @contextmanager
        def bar():
            listening.totals.append(total)
            yield Counting()

        return bar()


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.txt").write_text(f"text number {i} " * 20)
    return folder


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_sources_as_they_were(texts: Path, tmp_path: Path, tokenizer) -> None:
    store, reporter = prepare(texts, tokenizer, tmp_path / "data"), Listening()
    assert verify_sources([store], reporter=reporter) == Verified(5, size(texts))
    assert reporter.totals == [size(texts)] and reporter.done == size(texts)
    assert len(reporter.said) == 1 and "5 sources" in reporter.said[0]


@pytest.mark.parametrize("same_size_and_time", [False, True])
def test_a_changed_source_is_refused_by_name(texts: Path, tmp_path: Path, tokenizer, same_size_and_time: bool) -> None:
    store = prepare(texts, tokenizer, tmp_path / "data")
    path = texts / "3.txt"
    status, content = path.stat(), path.read_text()
    path.write_text("X" + content[1:] if same_size_and_time else content + "more")
    if same_size_and_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(
        GroundupError, match=rf"{path} changed since .*prepare the text again.*--changed-sources accept"
    ):
        verify_sources([store])
    reporter = Listening()
    found = verify_sources([store], "accept", reporter=reporter)
    assert found == Verified(4, size(texts), changed=(str(path),))
    assert "accepted" in reporter.warned[0] and str(path) in reporter.warned[0]
    assert verify_sources([store], "ignore", reporter=reporter) == Verified(0, 0)


def test_a_source_that_is_gone_is_told(texts: Path, tmp_path: Path, tokenizer) -> None:
    store, reporter = prepare(texts, tokenizer, tmp_path / "data"), Listening()
    (texts / "0.txt").unlink()
    found = verify_sources([store], reporter=reporter)
    assert found == Verified(4, size(texts), gone=(str(texts / "0.txt"),))
    assert f"{texts / '0.txt'} can no longer be found" in reporter.warned[0]


def test_several_stores_share_sources_and_each_is_hashed_once(texts: Path, tmp_path: Path, tokenizer) -> None:
    first = prepare(texts, tokenizer, tmp_path / "first")
    second = prepare([texts / "0.txt", texts / "1.txt"], tokenizer, tmp_path / "second")
    assert verify_sources([first, second]) == Verified(5, size(texts))


def test_names_hold_from_any_folder(texts: Path, tmp_path: Path, tokenizer, monkeypatch) -> None:
    monkeypatch.chdir(texts)
    store = prepare("1.txt", tokenizer, tmp_path / "data")
    monkeypatch.chdir("/")
    assert verify_sources([store]).n_same == 1
    (texts / "1.txt").write_text("another")
    with pytest.raises(GroundupError, match=str(texts / "1.txt")):
        verify_sources([store])


def test_members_of_an_archive(texts: Path, tmp_path: Path, tokenizer) -> None:
    def pack(word: str) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("in/one.txt", f"{word} one")
            archive.writestr("two.jsonl", json.dumps({"text": "two"}))

    pack("hello")
    store = prepare(tmp_path / "a.zip", tokenizer, tmp_path / "data")
    assert verify_sources([store]) == Verified(2, (tmp_path / "a.zip").stat().st_size)
    pack("other")
    with pytest.raises(GroundupError, match=r"a\.zip/in/one\.txt, .*a\.zip/two\.jsonl changed"):
        verify_sources([store])


def test_token_files_of_others(tmp_path: Path, tokenizer) -> None:
    import numpy as np

    (np.arange(4000, dtype="<u2") % 97).tofile(tmp_path / "train.bin")
    tokenizer.token_bytes = lambda: np.ones(tokenizer.vocab_size, np.int64)
    tokenizer.decode = lambda ids, skip_special=False: "text"
    store = prepare(tmp_path / "train.bin", tokenizer, tmp_path / "data")
    assert verify_sources([store]) == Verified(1, 8000)
    (np.arange(4000, dtype="<u2") % 96).tofile(tmp_path / "train.bin")
    with pytest.raises(GroundupError, match=r"train\.bin changed"):
        verify_sources([store])


def remote_store(tokenizer, out: Path):
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/bucket/a.txt", b"some text that lies elsewhere")
    files.pipe("/bucket/b.txt", b"more text that lies elsewhere")
    return files, prepare("memory://bucket", tokenizer, out)


def test_remote_sources_by_their_stamp(tmp_path: Path, tokenizer) -> None:
    files, store = remote_store(tokenizer, tmp_path / "data")
    assert verify_sources([store]) == Verified(2, 0)
    files.rm("/bucket/b.txt")
    assert verify_sources([store]) == Verified(1, 0, gone=("memory://bucket/b.txt",))
    files.pipe("/bucket/a.txt", b"something else")
    with pytest.raises(GroundupError, match=r"memory://bucket/a\.txt changed"):
        verify_sources([store])


@pytest.mark.parametrize("trouble", ["error", "silence"])
def test_a_store_that_does_not_answer_stops_nobody(tmp_path: Path, tokenizer, monkeypatch, trouble: str) -> None:
    _, store = remote_store(tokenizer, tmp_path / "data")

    def asked(place):
        if trouble == "silence":
            time.sleep(30)
        raise ConnectionError

    monkeypatch.setattr(verification, "remote_stamp", asked)
    monkeypatch.setattr(verification, "_REMOTE_SECONDS", 0.2)
    began, reporter = time.monotonic(), Listening()
    found = verify_sources([store], reporter=reporter)
    assert found == Verified(0, 0, not_asked=("memory://bucket/a.txt", "memory://bucket/b.txt"))
    assert time.monotonic() - began < 10
    assert "no answer" in reporter.warned[0]


def test_a_dataset_of_the_hub_is_looked_for_in_the_cache(tmp_path: Path, tokenizer, monkeypatch) -> None:
    (tmp_path / "copy.txt").write_text("from the hub")
    store = prepare(tmp_path / "copy.txt", tokenizer, tmp_path / "data")
    name = "hf:org/set@0123abc/data/copy.txt"
    store.manifest["sources"][0]["path"] = name
    asked = []
    monkeypatch.setattr(verification, "cached_file", lambda file: asked.append(file) or tmp_path / "copy.txt")
    assert verify_sources([store]).n_same == 1
    assert asked == [name]
    monkeypatch.setattr(verification, "cached_file", lambda file: None)
    assert verify_sources([store]).gone == (name,)
