"""Documents as cleaning sees them: numbered, bounded, with progress that ends where it should."""

from __future__ import annotations

import json

from groundup.data.cleaning import documents
from groundup.data.cleaning.documents import Corpus
from groundup.data.reading import Reading
from groundup.data.sources import list_sources


def test_numbers_indices_and_progress(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"row {i} é"}) + "\n" for i in range(3)))
    (tmp_path / "b.txt").write_text("one text")
    corpus = Corpus(list_sources(tmp_path), Reading())
    told: list[float] = []
    found = list(corpus.documents(told.append))
    assert [(d.number, d.index) for d in found] == [(0, 0), (1, 1), (2, 2), (3, 0)]
    assert found[1].id == f"{tmp_path / 'a.jsonl'}#1"
    assert sum(told) == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_a_giant_comes_in_parts_cut_at_line_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "LONGEST", 600_000)
    text = "".join(f"line {i} of a book that never ends\n" for i in range(60_000))
    (tmp_path / "a.txt").write_text(text)
    corpus = Corpus(list_sources(tmp_path), Reading())
    parts = [document.text for document in corpus.documents()]
    assert "".join(parts) == text and len(parts) == 1 + next(iter(corpus.remarks.values()))
    assert len(parts) >= 3
    assert all(part.endswith("\n") and len(part) < 1_000_000 for part in parts)


def test_a_broken_file_is_noted_and_the_next_is_read(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"text": \n')
    (tmp_path / "b.txt").write_text("still read")
    corpus = Corpus(list_sources(tmp_path), Reading())
    assert [document.text for document in corpus.documents()] == ["fine", "still read"]
    assert list(corpus.unreadable) in ([str(tmp_path / "a.jsonl")], [])
    assert corpus.unreadable or corpus.remarks
