"""Lines of a label and a text, as TREC and fastText keep them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from groundup.core.errors import GroundupError
from groundup.data.reading_records import read_records


def test_the_first_word_is_the_label(tmp_path: Path):
    file = tmp_path / "questions.txt"
    file.write_bytes(b"DESC:def What is a fuel cell ?\r\n\n  NUM:date  When ?\nlonely\n")
    records = read_records([file], "labelled", format="label-lines")
    assert [(record.label, record.text) for record in records] == [
        ("DESC:def", "What is a fuel cell ?"),
        ("NUM:date", "When ?"),
    ]
    assert records.n_rejected == 1 and records.rejections[0][0].endswith(":4")


def test_fasttext_may_have_several_labels(tmp_path: Path):
    file = tmp_path / "train.txt"
    file.write_text("__label__sauce __label__cheese How much does it cost?\n__label__food Why?\n")
    found = [(record.label, record.text) for record in read_records([file], "labelled", format="label-lines")]
    assert found == [("sauce|cheese", "How much does it cost?"), ("food", "Why?")]


def test_plain_text_is_never_taken_for_it(tmp_path: Path):
    (tmp_path / "a.txt").write_text("A line of prose.\n")
    with pytest.raises(GroundupError, match="document records, not labelled"):
        list(read_records([tmp_path / "a.txt"], "labelled"))


@pytest.mark.shared_data
def test_trec_from_its_archive(shared_data: Path):
    records = read_records([shared_data / "classification" / "trec_qc.zip"], "labelled", format="label-lines")
    coarse = Counter(record.label.partition(":")[0] for record in records)
    # Li and Roth 2002, section 3: 5,500 training questions (5,452 in what was published) and 500 to test with, 6 classes.
    assert sum(coarse.values()) == 5952 and len(coarse) == 6 and not records.n_rejected
    assert len({record.label for record in records}) == 50
