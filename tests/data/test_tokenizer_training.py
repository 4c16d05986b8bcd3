"""A tokenizer from text on disk."""

from __future__ import annotations

import json
from pathlib import Path

from groundup.core.progress import Reporter
from groundup.data.tokenizer_training import train_tokenizer
from groundup.tokenization.tokenizer import Tokenizer


class Heard(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str = "") -> None:
        self.lines.append(text)


def write_rows(path: Path, n: int) -> Path:
    rows = ({"text": f"Document {i} tells of the number {i * i} and of nothing else."} for i in range(n))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_of_much_text_a_sample_is_read(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 4000)
    whole, part = Heard(), Heard()
    train_tokenizer(rows, algorithm="char", vocab_size=400, reporter=whole)
    train_tokenizer(rows, algorithm="char", vocab_size=400, max_bytes=20_000, reporter=part)
    assert "20.0 kB" in part.lines[-1] or "19." in part.lines[-1], part.lines
    assert "kB" in whole.lines[-1]
    assert float(whole.lines[-1].split("learned from ")[1].split(" kB")[0]) > 150


def test_it_is_saved_where_asked(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 50)
    trained = train_tokenizer(rows, out=tmp_path / "tok", vocab_size=280)
    assert Tokenizer.load(tmp_path / "tok").sha256 == trained.sha256
    assert trained.vocab_size == 280
