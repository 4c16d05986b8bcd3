"""The tokenizer commands as a person types them, one after another."""

from __future__ import annotations

import base64
import subprocess
import sys

import pytest


def groundup(*arguments: object, folder) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "groundup", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


@pytest.fixture
def folder(tmp_path):
    """Ranks of the bytes and a few pairs, a WordPiece list, and two texts."""
    tokens = [*(bytes([byte]) for byte in range(256)), b"th", b"the", b" the", b" c", b"at"]
    lines = (base64.b64encode(token).decode() + f" {rank}" for rank, token in enumerate(tokens))
    (tmp_path / "my.tiktoken").write_text("\n".join(lines) + "\n")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\ncat\n##s\n")
    (tmp_path / "eng.txt").write_text("the cat and the cats sat. " * 40)
    (tmp_path / "law.txt").write_text("Vertrag und Recht. " * 40)
    return tmp_path


def test_from_a_file_of_ranks_to_an_extended_tokenizer(folder):
    asked = groundup("tokenizer", "import", "my.tiktoken", "--out", "tok", folder=folder)
    assert asked.returncode == 2
    assert "give --pattern" in asked.stderr
    assert not (folder / "tok").exists()

    done = groundup(
        "tokenizer", "import", "my.tiktoken", "--out", "tok", "--pattern", "gpt2", "--special", "<|end|>", folder=folder
    )
    assert done.returncode == 0, done.stderr
    assert "ids equal tiktoken's" in done.stdout
    assert (folder / "tok" / "tokenizer.json").is_file()

    done = groundup("tokenizer", "show", "tok", "the cat", "--html", "page.html", folder=folder)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[-4:-1]]
    assert [(row[1], row[3]) for row in rows] == [("257", "0–3"), ("259", "3–5"), ("260", "5–7")]
    assert 'class="piece"' in (folder / "page.html").read_text()

    texts = ("--text", "eng.txt", "--text", "German=law.txt")
    done = groundup("tokenizer", "compare", "tok", "vocab.txt", *texts, "--html", "compare.html", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "bytes per token" in done.stdout
    assert "German" in done.stdout
    assert "read as uncased" in done.stdout

    done = groundup(
        "tokenizer", "extend", "tok", "law.txt", "--add", "5", "--out", "tok2", "--old", "eng.txt", folder=folder
    )
    assert done.returncode == 0, done.stderr
    assert "new text" in done.stdout
    assert "old text" in done.stdout
    refused = groundup("tokenizer", "extend", "vocab.txt", "law.txt", "--add", "5", "--out", "tok3", folder=folder)
    assert refused.returncode == 2
    assert "a wordpiece tokenizer cannot be extended" in refused.stderr
    assert not (folder / "tok3").exists()
