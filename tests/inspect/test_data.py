"""Data before a training: the histogram counts every document, rows are shown as they are read, pages hold no markup of a text."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from groundup.data.packing import PackedRows
from groundup.data.prepare import prepare
from groundup.data.windows import Windows
from groundup.inspect.data import ShownSource, data_html, data_terminal
from groundup.inspect.windows import row_html, windows_terminal

ANIMALS = ("cat", "dog", "bird", "cow", "hen", "pig", "fox", "owl", "bee", "ant", "elk", "eel")


@pytest.fixture
def split(tokenizer, tmp_path):
    texts = [f"The {animal} sat. " * (1 + i % 3) for i, animal in enumerate(ANIMALS)] + ["<script>alert(1)</script>"]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return prepare([tmp_path / "text.jsonl"], tokenizer, tmp_path / "data", n_threads=1, validation_fraction=0).split(
        "train"
    )


def shown(view, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(view)
    return console.file.getvalue()


def test_a_packed_row_shows_each_piece_and_no_exercise_in_its_empty_room(split, tokenizer):
    rows = PackedRows(split, 64)
    for index in range(len(rows)):
        inputs, labels, _ = (part[0] for part in rows.rows(np.array([index])))
        text = shown(windows_terminal(rows, tokenizer, index, n_rows=999))
        lines = [line for line in text.splitlines() if re.match(r" *\d+  ", line)]
        assert [int(line.split()[-1]) for line in lines] == labels[labels != -100].tolist()
        n_openings = sum(re.match(r" *\d+  <\|endoftext\|>  ", line) is not None for line in lines)
        assert n_openings == (inputs[labels != -100] == split.eos_id).sum() == len(rows.pieces(index))
        html = row_html(rows, tokenizer, index, 64)
        assert html.count('class="exercise"') == 64
        assert html.count('class="piece nothing"') == (labels == -100).sum()


def test_what_is_not_listed_is_told(split, tokenizer):
    rows = Windows(split, 32)
    for n_rows, told in ((16, True), (32, False), (64, False)):
        text = shown(windows_terminal(rows, tokenizer, 0, n_rows))
        assert ("and so on, to position 31" in text) is told
        assert ("and so on, to position 31" in row_html(rows, tokenizer, 0, n_rows)) is told


def test_joined_documents_have_one_colour_and_kept_apart_ones_their_own(split, tokenizer):
    n = split.n_tokens - 1
    joined, apart = (row_html(Windows(split, n, document_mask=mask), tokenizer, 0, 5) for mask in (False, True))
    colours = [len(set(re.findall(r"background: (#\w+)", html))) for html in (joined, apart)]
    assert colours == [1, 6]


def test_the_view_of_a_mixture_names_sources_counts_documents_and_escapes(split, tokenizer):
    sources = [ShownSource("zoo", 0.75, Windows(split, 16)), ShownSource("packed", 0.25, PackedRows(split, 16))]
    text = shown(data_terminal(sources, [(0, 0), (1, 2), (0, 1)], tokenizer))
    assert "a training are of: zoo packed zoo" in text
    assert "75.0% of the rows: 13 documents" in text
    histogram = re.findall(r"^ *\d+(?: to \d+)? +(\d+) ", text.split("reading")[0], re.M)
    assert sum(map(int, histogram)) == 13
    assert "window 1 of" in text
    assert "row 2 of" in text
    html = data_html(sources, [(0, 0), (1, 2)], tokenizer)
    assert "<script" not in html
    assert html.count("<h2>zoo</h2>") == 1
    alone = shown(data_terminal([ShownSource("", 1.0, Windows(split, 16))], [(0, 3)], tokenizer))
    assert "of the rows" not in alone
    assert "window 3 of" in alone


def test_a_character_of_several_tokens_is_whole_in_the_text(tokenizer, tmp_path):
    (tmp_path / "text.txt").write_text("漱石 " * 40)
    data = prepare([tmp_path / "text.txt"], tokenizer, tmp_path / "data", n_threads=1, validation_fraction=0)
    rows = Windows(data.split("train"), 60)
    assert len(tokenizer.encode("漱石")) > 2
    text = shown(windows_terminal(rows, tokenizer, 0, n_rows=0), width=1000)
    assert "漱石 漱石 漱石" in text
    one = data_terminal([ShownSource("", 1.0, rows)], [(0, 0)], tokenizer)
    assert f"1 document of {data.split('train').n_tokens:,} tokens" in shown(one)
