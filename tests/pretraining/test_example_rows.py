"""Rows to fine-tune on, of the running Python's documentation: read back as the kind they are, the same bytes each time."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data.reading_records import read_records
from groundup.pretraining.example_rows import KINDS, LABELLED, N_LABELS, N_PAIRS, PAIRS, write_example_rows

FILES = {"labelled": LABELLED, "conversation": "train.jsonl", "preference": PAIRS}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("rows")
    for kind in KINDS:
        write_example_rows(place / kind, kind)
    return place


def rows(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_read_as_their_kind(made: Path, kind: str):
    records = read_records(made / kind / FILES[kind], kind)
    assert sum(1 for _ in records) == len(rows(made / kind / FILES[kind]))


def test_labels_are_packages_that_have_many_sentences(made: Path):
    sizes = Counter(row["label"] for row in rows(made / "labelled" / LABELLED))
    assert len(sizes) == N_LABELS and "asyncio" in sizes and min(sizes.values()) > 100


def test_the_rejected_answer_is_the_chosen_one_spoiled(made: Path):
    pairs = rows(made / "preference" / PAIRS)
    assert len(pairs) == N_PAIRS
    shouted = [pair for pair in pairs if pair["rejected"] == pair["chosen"].upper()]
    cut = [pair for pair in pairs if pair["chosen"].startswith(pair["rejected"])]
    assert len(shouted) == len(cut) == N_PAIRS // 2
    assert all(pair["prompt"] != pair["chosen"] and pair["chosen"][-1] in ".!?" for pair in pairs)


def test_a_folder_of_other_files_is_left_alone_and_the_bytes_are_the_same(made: Path, tmp_path: Path):
    write_example_rows(tmp_path / "rows", "preference")
    assert (tmp_path / "rows" / PAIRS).read_bytes() == (made / "preference" / PAIRS).read_bytes()
    (tmp_path / "rows" / "mine.txt").write_text("mine")
    with pytest.raises(GroundupError, match="other files"):
        write_example_rows(tmp_path / "rows", "labelled")
    assert (tmp_path / "rows" / "mine.txt").read_text() == "mine"
    with pytest.raises(GroundupError, match="labelled"):
        write_example_rows(tmp_path / "new", "labeled")
