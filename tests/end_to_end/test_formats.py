"""A corpus of many formats, from files to tokens by the command line, and what a person is told on the way."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from groundup.cli import main
from groundup.data.store import TokenStore

OLD = (
    "Die Straße führt über die Brücke; größere Wägen müssen außen herum. Für Fußgänger gibt es Stufen.\n"
    "Später hörte man Gelächter aus den Häusern, und die Tür öffnete sich, während es draußen kälter wurde.\n"
) * 20


def run(capsys: pytest.CaptureFixture, *words: object, code: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    output = capsys.readouterr()
    said = " ".join((output.out + output.err).split())  # whatever the width of the terminal
    assert ended.value.code == code, said
    assert "Traceback" not in said
    return said


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    sentence = "The quick brown fox jumps over the lazy dog, number {}.\n"
    for name in ("one", "two"):
        (folder / f"{name}.txt").write_text("".join(sentence.format(i) for i in range(40)))
    (folder / "three.md").write_text("# Three\n" + sentence.format(3) * 30)
    (folder / "rows.jsonl.gz").write_bytes(
        gzip.compress("".join(json.dumps({"body": sentence.format(i)}) + "\n" for i in range(50)).encode())
    )
    (folder / "list.json").write_text(json.dumps([{"content": sentence.format(i)} for i in range(30)]))
    (folder / "old.txt").write_bytes(OLD.encode("cp1252"))
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("inside.txt", sentence.format(0) * 20)
    (folder / "broken.docx").write_bytes(b"none")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    return folder


def test_a_corpus_of_many_formats_becomes_tokens(capsys, corpus: Path, tmp_path: Path) -> None:
    said = run(capsys, "data", "read", corpus)
    assert "7 files read, 1 not" in said, said
    assert "damaged or no DOCX" in said and "1 .png file, left out" in said and "cp1252" in said
    said = run(capsys, "tokenizer", "train", corpus, "--out", tmp_path / "tok", "--vocab-size", 270)
    assert "broken.docx" in said and "field 'body'" in said
    said = run(capsys, "data", "prepare", corpus, "--tokenizer", tmp_path / "tok", "--out", tmp_path / "data")
    assert "8 files" not in said or "reading" in said
    manifest = TokenStore.open(tmp_path / "data").manifest
    kinds = sorted(source["kind"] for source in manifest["sources"])
    assert kinds == ["docx", "json", "jsonl", "markdown", "text", "text", "text", "text"]
    assert manifest["n_documents"] == 50 + 30 + 5
    assert any("detected with confidence" in remark for remark in manifest["remarks"])
    assert all(len(source["sha256"]) == 64 for source in manifest["sources"])


def test_rows_are_mapped_rejected_and_refused_as_asked(capsys, tmp_path: Path) -> None:
    rows = [
        json.dumps({"question": f"What is {i} and one?", "answer": f"It is {i + 1}, of course."}) for i in range(40)
    ]
    path = tmp_path / "qa.jsonl"
    path.write_text("\n".join([*rows, "{oops"]))
    train = ("tokenizer", "train", path, "--out", tmp_path / "tok", "--vocab-size", 270)
    said = run(capsys, *train, code=2)
    assert "rows of conversations (prompt_completion: 'question', 'answer'), which are not plain text" in said
    said = run(capsys, *train, "--map", "text=question+answer", code=2)
    assert "qa.jsonl:41: not valid JSON" in said
    mapped = ("--map", "text=question+answer", "--on-bad-row", "skip")
    assert "1 row rejected: not valid JSON" in run(capsys, *train, *mapped)
    prepare = ("data", "prepare", path, "--tokenizer", tmp_path / "tok", "--out", tmp_path / "data")
    run(capsys, *prepare, *mapped)
    settings = TokenStore.open(tmp_path / "data").manifest["settings"]
    assert (settings["map"], settings["on_bad_row"]) == ({"text": "question+answer"}, "skip")
    assert "write OURS=THEIRS" in run(capsys, *prepare, "--map", "text", code=2)
    assert "did you mean 'jsonl'" in run(capsys, *prepare, "--format", "jsonll", code=2)
    assert "unknown encoding 'klingon'" in run(capsys, *prepare, "--encoding", "klingon", code=2)
    assert "on_bad_row" in run(capsys, *prepare, "--on-bad-row", "ignore", code=2)


def test_pretraining_refuses_what_it_cannot_read_before_it_makes_a_run(capsys, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "\n".join(json.dumps({"a": f"Some words, number {i}, to learn from.", "b": "no"}) for i in range(200))
    )
    out = tmp_path / "run"
    pretrain = ("pretrain", path, "--out", out, "--steps", 2)
    assert "write OURS=THEIRS" in run(capsys, *pretrain, "--map", "text", code=2)
    assert "unknown format 'jsonll'" in run(capsys, *pretrain, "--format", "jsonll", code=2)
    assert "unknown encoding 'klingon'" in run(capsys, "plan", path, "--encoding", "klingon", code=2)
    assert not out.exists()


def test_token_files_of_nanogpt(capsys, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"The fox jumps {i} times.\n" for i in range(300)))
    run(capsys, "tokenizer", "train", tmp_path / "a.txt", "--out", tmp_path / "tok", "--vocab-size", 270)
    from groundup.tokenization.tokenizer import Tokenizer

    ids = Tokenizer.load(tmp_path / "tok").encode((tmp_path / "a.txt").read_text())
    np.array(ids, np.uint16).tofile(tmp_path / "train.bin")
    assert "data prepare" in run(
        capsys, "pretrain", tmp_path / "train.bin", "--out", tmp_path / "run", "--steps", 1, code=2
    )
    prepare = ("data", "prepare", tmp_path / "train.bin", "--out", tmp_path / "data")
    said = run(capsys, *prepare, "--tokenizer", tmp_path / "tok")
    assert f"as nanogpt: {len(ids):,} tokens, beginning 'The fox jumps 0 times." in said
    store = TokenStore.open(tmp_path / "data")
    assert store.split("train").n_tokens + store.split("validation").n_tokens == len(ids) + 1


def test_nothing_that_can_be_read_ends_with_an_error(capsys, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    assert "0 files read, 1 not" in run(capsys, "data", "read", tmp_path, code=2)
    assert "does not exist" in run(capsys, "data", "read", tmp_path / "b", code=2)
