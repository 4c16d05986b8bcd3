from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.core.progress import Bar, Reporter
from groundup.data.corpus import corpus_text
from groundup.data.prepare import prepare


def write_rows(path: Path, n: int) -> list[str]:
    texts = [f"Document {i} tells of the number {i * i}." for i in range(n)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return texts


def test_only_the_training_documents_of_the_same_split(tmp_path: Path, tokenizer) -> None:
    texts = write_rows(tmp_path / "a.jsonl", 200)
    seen = list(corpus_text(tmp_path / "a.jsonl", seed=3))
    store = prepare(tmp_path / "a.jsonl", tokenizer, tmp_path / "data", seed=3)
    train = store.split("train")
    held_out = [text for text in texts if text not in set(seen)]
    assert len(seen) == train.n_documents
    assert len(held_out) == store.split("validation").n_documents > 15
    tokens = [id for text in seen for id in [*tokenizer.encode(text), tokenizer.eos_id]]
    assert train.read(0, train.n_tokens).tolist() == tokens


def test_of_one_document_only_the_head(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("train line\n" * 900 + "secret line\n" * 90)
    seen = "".join(corpus_text(tmp_path / "a.txt"))
    assert "secret" not in seen
    assert len(seen) > 9000


def test_a_sample_is_spread_over_the_corpus(tmp_path: Path) -> None:
    texts = write_rows(tmp_path / "a.jsonl", 2000)
    n_bytes = sum(map(len, texts))
    seen = list(corpus_text(tmp_path / "a.jsonl", max_bytes=n_bytes // 10))
    assert 0.05 < sum(map(len, seen)) / n_bytes < 0.11
    places = sorted(texts.index(text) for text in seen)
    assert places[len(places) // 2] > 700
    assert places[-1] > 1500
    assert seen == list(corpus_text(tmp_path / "a.jsonl", max_bytes=n_bytes // 10))


def test_paths_are_checked_at_once(tmp_path: Path) -> None:
    with pytest.raises(GroundupError, match="does not exist"):
        corpus_text(tmp_path / "nowhere")


def test_progress_is_told_by_bytes_of_the_text(tmp_path):
    """Both passes: counting over the files' bytes, then learning over the text's, up to the last quarter of a megabyte."""
    (tmp_path / "a.txt").write_text("all of it is told. " * 100_000)
    told: dict[str, list[float]] = {}

    class Listener(Reporter):
        @contextmanager
        def bar(self, label, total, unit="", begun=0):
            told[label] = [total, 0]

            class Told(Bar):
                def advance(self, amount=1, info=None):
                    told[label][1] += amount

            yield Told()

    n_read = sum(map(len, corpus_text(tmp_path / "a.txt", reporter=Listener())))
    assert 0.85 * 1_900_000 < n_read < 1_900_000
    assert told["counting"] == [1_900_000, 1_900_000]
    assert told["learning"][0] == 1_900_000
    assert 1_600_000 < told["learning"][1] <= 1_900_000
