from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from groundup.core.errors import GroundupError
from groundup.data import decoding, store_writing, units
from groundup.data.prepare import prepare
from groundup.data.remarks import counted
from groundup.data.store import TokenSplit, TokenStore
from groundup.data.windows import Windows

from .conftest import Listening


def story(i: int, n: int = 60) -> str:
    chance = random.Random(i)
    words = ["the", "a", "cat", "dog", "house", "green", "runs", "sleeps", "and", "of", "Ärger", "don't"]
    return "".join(chance.choice(words) + chance.choice([" ", " ", " ", ", ", "\n", "\n\n"]) for _ in range(n))


def write_rows(path: Path, n: int) -> list[str]:
    texts = [story(i) for i in range(n)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return texts


def all_ids(split: TokenSplit) -> list[int]:
    return split.read(0, split.n_tokens).tolist()


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_document_is_its_ids_and_then_end_of_text(tmp_path: Path, tokenizer) -> None:
    texts = write_rows(tmp_path / "a.jsonl", 100)
    store = prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data", tokens_per_shard=500)
    sides = store.split("train"), store.split("validation")
    found = []
    for split in sides:
        ids = all_ids(split)
        assert split.n_documents == ids.count(0) == sum(1 for i in range(split.n_documents) if split.document(i))
        documents = [tuple(ids[s : s + n]) for s, n in map(split.document, range(split.n_documents))]
        assert all(document[-1] == 0 and 0 not in document[:-1] for document in documents)
        found += documents
    assert sorted(found) == sorted((*tokenizer.encode(text), 0) for text in texts)
    assert sum(split.n_bytes for split in sides) == sum(len(text.encode()) for text in texts)
    assert sides[0].n_shards > 3
    assert (tmp_path / "data/tokenizer/tokenizer.json").is_file()
    assert not (tmp_path / "data/preparing.json").exists()


@pytest.mark.parametrize("block", [50, 701, 1 << 18])
def test_a_long_document_cut_into_units_has_the_ids_of_the_whole(
    tmp_path: Path, tokenizer, monkeypatch, block: int
) -> None:
    monkeypatch.setattr(units, "_UNIT_CHARACTERS", 300)
    monkeypatch.setattr(decoding, "BLOCK_BYTES", block)
    texts = [story(i, 1000) for i in range(2)]
    for i, text in enumerate(texts):
        (tmp_path / f"{i}.txt").write_text(text)
    (tmp_path / "row.jsonl").write_text(json.dumps({"text": texts[0]}))
    store = prepare(tmp_path, tokenizer, tmp_path / "data", validation_fraction=0, tokens_per_shard=200)
    train = store.split("train")
    assert tokenizer.n_encoded > 40
    assert all_ids(train) == [id for text in (*texts, texts[0]) for id in [*tokenizer.encode(text), 0]]
    assert train.n_documents == 3
    assert train.n_shards > 5


def test_units_of_the_real_tokenizer_have_the_ids_of_the_whole(tmp_path: Path, shared_data: Path, monkeypatch) -> None:
    from groundup.data.tokenizer_training import train_tokenizer

    text = (shared_data / "corpora/the-verdict.txt").read_text()
    (tmp_path / "a.txt").write_text(text)
    tokenizer = train_tokenizer(tmp_path / "a.txt", vocab_size=600)
    monkeypatch.setattr(units, "_UNIT_CHARACTERS", 50)
    store = prepare(tmp_path / "a.txt", tokenizer, tmp_path / "data", validation_fraction=0)
    assert all_ids(store.split("train")) == [*tokenizer.encode(text), tokenizer.eos_id]


def test_text_without_a_safe_cut_is_cut_all_the_same_and_told(tmp_path: Path, tokenizer, monkeypatch) -> None:
    monkeypatch.setattr(units, "_UNIT_CHARACTERS", 100)
    monkeypatch.setattr(units, "_LONGEST_UNIT", 400)
    (tmp_path / "a.txt").write_text("x" * 1000)
    reporter = Listening()
    store = prepare(tmp_path / "a.txt", tokenizer, tmp_path / "data", validation_fraction=0, reporter=reporter)
    assert store.split("train").n_tokens == 2 + 1 + 1  # 400, 400, the rest, end of text
    assert any("2 places cut where a token may cross" in line for line in reporter.warned)


def test_the_bytes_do_not_depend_on_threads(tmp_path: Path, shared_data: Path) -> None:
    """With the real tokenizer, whose threads finish in any order."""
    from groundup.data.tokenizer_training import train_tokenizer

    text = (shared_data / "corpora/the-verdict.txt").read_text()
    (tmp_path / "one.txt").write_text(text * 60)
    tokenizer = train_tokenizer(tmp_path / "one.txt", vocab_size=400)
    write_rows(tmp_path / "rows.jsonl", 500)
    folders = []
    for n_threads in (1, 2, 5):
        folders.append(tmp_path / f"data-{n_threads}")
        paths = [tmp_path / "one.txt", tmp_path / "rows.jsonl"]
        prepare(paths, tokenizer, folders[-1], n_threads=n_threads, tokens_per_shard=100_000)
    assert content(folders[0]) == content(folders[1]) == content(folders[2])
    store = TokenStore.open(folders[0])
    start, length = store.split("train").document(0)
    assert tokenizer.decode(store.split("train").read(start, length - 1)) == text * 60


def test_windows_of_training_never_hold_validation_text(tmp_path: Path, tokenizer) -> None:
    """Each document is one word of its own, so a token tells whose it is."""
    tokenizer.vocab_size = 1 << 30  # no two words share an id
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"w{i:03d} " * 5}) + "\n" for i in range(200)))
    store = prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data")
    train, validation = (set(all_ids(store.split(name))) for name in ("train", "validation"))
    words = {tokenizer.encode(f" w{i:03d}")[0] for i in range(200)}
    assert len(train & words) + len(validation & words) == len(words)
    windows = Windows(store.split("train"), 16, 4)
    read = {id for i in range(len(windows)) for part in windows.window(i) for id in part.tolist()}
    assert not read & validation & words


# ---- the cache


def test_the_same_again_is_not_prepared_again(tmp_path: Path, tokenizer) -> None:
    write_rows(tmp_path / "a.jsonl", 50)
    prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data")
    before, n_encoded, reporter = content(tmp_path / "data"), tokenizer.n_encoded, Listening()
    store = prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data", reporter=reporter)
    assert tokenizer.n_encoded == n_encoded
    assert content(tmp_path / "data") == before
    assert store.split("train").n_tokens > 0
    assert "nothing to do" in reporter.said[-1]


@pytest.mark.parametrize(
    "change", ["text", "same size", "removed", "added", "order", "fraction", "seed", "field", "tokenizer"]
)
def test_any_change_prepares_anew(tmp_path: Path, tokenizer, another_tokenizer, change: str) -> None:
    for name in ("a", "b"):
        rows = [{"text": f"{name} {story(i)}", "body": f"body {i}"} for i in range(20)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    paths, out = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tmp_path / "data"
    prepare(paths, tokenizer, out)
    before, settings = content(out), {}
    if change == "text":
        (tmp_path / "a.jsonl").write_text((tmp_path / "a.jsonl").read_text() + '{"text": "more", "body": ""}\n')
    elif change == "same size":
        status = (tmp_path / "a.jsonl").stat()
        (tmp_path / "a.jsonl").write_text((tmp_path / "a.jsonl").read_text().replace("a ", "z ", 1))
        os.utime(tmp_path / "a.jsonl", ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "removed":
        paths = paths[:1]
    elif change == "added":
        (tmp_path / "c.txt").write_text("third")
        paths.append(tmp_path / "c.txt")
    elif change == "order":
        paths = paths[::-1]
    elif change == "tokenizer":
        tokenizer = another_tokenizer
    else:
        settings = {"fraction": {"validation_fraction": 0.3}, "seed": {"seed": 1}, "field": {"text_field": "body"}}[
            change
        ]
    reporter = Listening()
    store = prepare(paths, tokenizer, out, reporter=reporter, **settings)
    assert "nothing to do" not in reporter.said[-1]
    assert content(out)["manifest.json"] != before["manifest.json"]
    prepare(paths, tokenizer, tmp_path / "fresh", **settings)
    assert content(out) == content(tmp_path / "fresh")  # nothing of the old store is left
    assert store.manifest["tokenizer"]["sha256"] == tokenizer.sha256


def test_a_damaged_store_is_made_anew(tmp_path: Path, tokenizer) -> None:
    write_rows(tmp_path / "a.jsonl", 50)
    prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data")
    whole = content(tmp_path / "data")
    shard = tmp_path / "data/train-00000.tokens"
    shard.write_bytes(shard.read_bytes()[:-1])
    prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data")
    assert content(tmp_path / "data") == whole


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path, tokenizer) -> None:
    write_rows(tmp_path / "a.jsonl", 20)
    (tmp_path / "data/tokenizer").mkdir(parents=True)
    for name in ("mine.txt", "mine.tokens", "tokenizer/notes.md"):
        (tmp_path / "data" / name).write_text("mine")
    prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data")
    assert all(
        (tmp_path / "data" / name).read_text() == "mine" for name in ("mine.txt", "mine.tokens", "tokenizer/notes.md")
    )


# ---- interrupted

KILLED_AT = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from conftest import WordTokenizer
    from groundup.core import files
    from groundup.data import prepare as module, store
    events = 0
    def killing(function):
        def wrapped(*arguments):
            global events
            for moment in ("before", "after"):
                events += 1
                if events == {event}:
                    os.kill(os.getpid(), signal.SIGKILL)
                if moment == "before":
                    result = function(*arguments)
            return result
        return wrapped
    os.replace = killing(os.replace)  # every file takes its place by this call
    module.prepare({source!r}, WordTokenizer(), {out!r}, tokens_per_shard=600)
"""


def run_killed(event: int, source: Path, out: Path) -> int:
    script = textwrap.dedent(KILLED_AT).format(
        tests=str(Path(__file__).parent), event=event, source=str(source), out=str(out)
    )
    return subprocess.run([sys.executable, "-c", script], check=False).returncode


@pytest.mark.parametrize("event", [3, 8, 13])
def test_killed_again_and_again_it_ends_with_the_same_bytes(tmp_path: Path, tokenizer, event: int) -> None:
    """Every run is killed at its n-th renaming (before it or just after), until one gets through."""
    write_rows(tmp_path / "a.jsonl", 60)
    source, out = tmp_path / "a.jsonl", tmp_path / "data"
    whole = prepare(source, tokenizer, tmp_path / "whole", tokens_per_shard=600)
    assert whole.split("train").n_shards >= 6
    n_kept = -1
    for _ in range(3):
        code = run_killed(event, source, out)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        with pytest.raises(GroundupError, match=r"in part|no manifest|not a folder"):
            TokenStore.open(out)
        kept = len(list(out.glob("*.tokens")))
        assert kept >= n_kept
        n_kept = kept
    reporter = Listening()
    n_before = tokenizer.n_encoded
    prepare(source, tokenizer, out, tokens_per_shard=600, reporter=reporter)
    if event > 3:
        assert any("going on after" in line for line in reporter.said)
        assert tokenizer.n_encoded - n_before < 60  # finished shards were not encoded again
    assert content(out) == content(tmp_path / "whole")


def test_killed_by_the_clock(tmp_path: Path, tokenizer) -> None:
    write_rows(tmp_path / "a.jsonl", 300)
    source, out = tmp_path / "a.jsonl", tmp_path / "data"
    script = textwrap.dedent(KILLED_AT).format(
        tests=str(Path(__file__).parent), event=0, source=str(source), out=str(out)
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while len(list(out.glob("*.tokens"))) < 4 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    process.wait()
    prepare(source, tokenizer, out, tokens_per_shard=600)
    prepare(source, tokenizer, tmp_path / "whole", tokens_per_shard=600)
    assert content(out) == content(tmp_path / "whole")


def test_interrupted_with_one_source_and_resumed_with_another(tmp_path: Path, tokenizer, monkeypatch) -> None:
    write_rows(tmp_path / "a.jsonl", 60)
    monkeypatch.setattr(store_writing, "write_shard", stopping_after(3, store_writing.write_shard, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data", tokens_per_shard=600)
    monkeypatch.undo()
    assert len(list((tmp_path / "data").glob("*.tokens"))) == 3
    write_rows(tmp_path / "a.jsonl", 61)
    prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data", tokens_per_shard=600)
    prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "fresh", tokens_per_shard=600)
    assert content(tmp_path / "data") == content(tmp_path / "fresh")


def stopping_after(n: int, function, error: BaseException):
    calls = 0

    def wrapped(*arguments):
        nonlocal calls
        calls += 1
        if calls > n:
            raise error
        return function(*arguments)

    return wrapped


def test_a_full_disk_is_told_and_what_is_finished_is_kept(tmp_path: Path, tokenizer, monkeypatch) -> None:
    write_rows(tmp_path / "a.jsonl", 60)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(os, "fsync", stopping_after(14, os.fsync, full))
    with pytest.raises(GroundupError, match=r"the disk is full: could not write .*data.*free some space"):
        prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data", tokens_per_shard=600)
    monkeypatch.undo()
    assert not list((tmp_path / "data").glob(".*"))
    reporter = Listening()
    prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data", tokens_per_shard=600, reporter=reporter)
    assert "going on after" in reporter.said[1]
    prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "fresh", tokens_per_shard=600)
    assert content(tmp_path / "data") == content(tmp_path / "fresh")


def test_out_is_a_file(tmp_path: Path, tokenizer) -> None:
    write_rows(tmp_path / "a.jsonl", 20)
    (tmp_path / "data").write_text("")
    with pytest.raises(GroundupError, match=r"cannot write .*data"):
        prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data")


def test_an_unreadable_row_leaves_the_old_store_as_it_was(tmp_path: Path, tokenizer) -> None:
    write_rows(tmp_path / "a.jsonl", 20)
    prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data")
    before = content(tmp_path / "data")
    (tmp_path / "a.jsonl").write_text("oops\n")
    with pytest.raises(GroundupError, match=r"a\.jsonl:1"):
        prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data")
    assert content(tmp_path / "data") == before


def test_a_tokenizer_without_end_of_text(tmp_path: Path, tokenizer) -> None:
    write_rows(tmp_path / "a.jsonl", 20)
    tokenizer.eos_id = None
    with pytest.raises(GroundupError, match="no end of text token"):
        prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data")


def test_what_was_left_out_is_told_and_recorded(tmp_path: Path, tokenizer) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.jsonl").write_text('{"text": "one two"}\n{"text": ""}\n{"text": "three"}\n')
    (tmp_path / "text/b.docx").write_text("x")
    (tmp_path / "text/c.png").write_text("x")
    reporter = Listening()
    store = prepare(tmp_path / "text", tokenizer, tmp_path / "data", reporter=reporter)
    assert reporter.warned == [
        "1 .png file, left out",
        f"1 file left out: damaged or no DOCX: File is not a zip file (first: {tmp_path / 'text/b.docx'})",
        "1 row without text, left out",
    ]
    assert [counted(count, what) for what, count in store.manifest["remarks"].items()] == reporter.warned


def test_the_manifest_says_where_it_all_comes_from(tmp_path: Path, tokenizer) -> None:
    import hashlib

    write_rows(tmp_path / "a.jsonl", 20)
    manifest = prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data").manifest
    (source,) = manifest["sources"]
    assert source["sha256"] == hashlib.sha256((tmp_path / "a.jsonl").read_bytes()).hexdigest()
    assert source["path"] == str(tmp_path / "a.jsonl")
    assert manifest["tokenizer"] == {
        "sha256": tokenizer.sha256, "algorithm": "words", "vocab_size": 5000, "eos_id": 0,
    }  # fmt: skip
    for name in ("train", "validation"):
        (shard,) = manifest["splits"][name]["shards"]
        assert shard["sha256"] == hashlib.sha256((tmp_path / "data" / shard["file"]).read_bytes()).hexdigest()
    assert np.isclose(manifest["splits"]["validation"]["n_bytes"] / manifest["n_bytes"], 0.1, atol=0.05)
