"""Labelled texts are split by what they say: the same for the same texts, each class on every side, copies together."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.data.labelled import SIDES, LabelledTexts, Splitting, collect_labelled


class Heard(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str = "") -> None:
        self.lines.append(text)

    warn = say


def written(file: Path, rows: list[tuple[str, Any]]) -> str:
    file.write_text(
        "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows), encoding="utf-8"
    )
    return str(file)


def collected(
    tmp_path: Path, rows: list[tuple[str, Any]], name: str = "out", reporter: Reporter | None = None, **settings: Any
):
    files = {side: settings.pop(side, ()) for side in ("validation", "test")}
    paths = {"train": [written(tmp_path / f"{name}.jsonl", rows)], **files}
    return collect_labelled(tmp_path / name, paths, Splitting(**settings), reading={}, reporter=reporter or Reporter())


def sides_of(texts: LabelledTexts) -> dict[str, str]:
    return {example.text: side for side in SIDES for example in texts.rows(side)}


ROWS: list[tuple[str, Any]] = [(f"text {i}", "rare" if i % 10 == 0 else "common") for i in range(300)]


def test_each_class_is_on_every_side_in_its_share(tmp_path: Path):
    texts = collected(tmp_path, ROWS)
    assert texts.labels == ("common", "rare")
    assert texts.manifest["counts"] == {"train": [189, 21], "validation": [27, 3], "test": [54, 6]}
    assert [texts.n_rows(side) for side in SIDES] == [210, 30, 60]
    for side in SIDES:
        truth = texts.truth(side)
        assert truth.sum(axis=0).tolist() == texts.manifest["counts"][side] and (truth.sum(axis=1) == 1).all()
    assert sorted(sides_of(texts)) == sorted(text for text, _ in ROWS)


def test_the_split_follows_from_the_texts_and_the_seed(tmp_path: Path):
    first = sides_of(collected(tmp_path, ROWS, "first"))
    assert sides_of(collected(tmp_path, ROWS[::-1], "second")) == first
    assert sides_of(collected(tmp_path, ROWS, "third", seed=1)) != first


def test_copies_of_a_text_are_on_one_side(tmp_path: Path):
    rows = [(f"text {i % 50} ", "ab"[i % 2]) for i in range(200)]  # four copies of each
    texts = collected(tmp_path, rows)
    seen = Counter((example.text, side) for side in SIDES for example in texts.rows(side))
    assert len(seen) == 50 and set(seen.values()) == {4}


def test_a_persons_own_files_are_kept_as_they_are(tmp_path: Path):
    own = written(tmp_path / "own.jsonl", [("text 3", "common"), ("other", "rare")])
    heard = Heard()
    texts = collected(tmp_path, ROWS, reporter=heard, test=[own])
    assert [example.text for example in texts.rows("test")] == ["text 3", "other"]
    assert texts.n_rows("train") + texts.n_rows("validation") == 299
    assert "text 3" not in {example.text for example in texts.rows("train")}
    assert not any("undersample" in line for line in heard.lines)
    assert any("1 rows of the data are in the validation or test files too" in line for line in heard.lines)


def test_undersampling_leaves_as_many_of_each_class(tmp_path: Path):
    texts = collected(tmp_path, ROWS, undersample=True)
    assert texts.manifest["counts"] == {"train": [21, 21], "validation": [3, 3], "test": [6, 6]}
    assert texts.manifest["left_out"] == 240


def test_texts_with_several_labels(tmp_path: Path):
    rows: list[tuple[str, Any]] = [(f"text {i}", ["x", "y"] if i % 2 else "y|z") for i in range(30)]
    rows += [(f"none {i}", []) for i in range(10)]
    texts = collected(tmp_path, rows, multi_label=True)
    assert texts.labels == ("x", "y", "z")
    total = sum(texts.truth(side).sum(axis=0) for side in SIDES)
    assert np.array_equal(total, [15, 30, 15])
    assert sum(int((texts.truth(side).sum(axis=1) == 0).sum()) for side in SIDES) == 10


def test_one_name_with_a_bar_is_said_aloud(tmp_path: Path):
    heard = Heard()
    texts = collected(tmp_path, [(f"t{i}", "a|b" if i % 2 else "c") for i in range(20)], reporter=heard)
    assert texts.labels == ("a|b", "c") and any("--multi-label" in line for line in heard.lines)


def test_few_rows_without_a_label_are_left_out_and_many_stop(tmp_path: Path):
    heard = Heard()
    few = [*((f"t{i}", "ab"[i % 2]) for i in range(60)), ("u", None)]
    texts = collected(tmp_path, few, "few", reporter=heard)
    assert sum(texts.n_rows(side) for side in SIDES) == 60
    assert any("few.jsonl:61 has no label" in line for line in heard.lines)
    many = [*((f"t{i}", "ab"[i % 2]) for i in range(60)), *((f"u{i}", None) for i in range(10))]
    with pytest.raises(
        GroundupError, match=r"10 of 70 rows cannot be used, more than 5%; the first is .*:61: no label"
    ):
        collected(tmp_path, many, "many")


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([(f"t{i}", "a") for i in range(9)], {}, "all 9 rows have the same label, 'a'"),
        ([*((f"t{i}", "a") for i in range(9)), ("u", "b"), ("v", "b")], {}, "'b' has 2 different texts; it takes 3"),
        ([*((f"t{i}", "a") for i in range(9)), *(("u", "b") for _ in range(5))], {}, "'b' has 1 different text;"),
        ([*((f"t{i}", "ab"[i % 2]) for i in range(9)), ("u", [])], {}, "--multi-label"),
    ],
)
def test_what_cannot_be_split_is_refused(tmp_path: Path, rows: list, settings: dict, message: str):
    with pytest.raises(GroundupError, match=message.replace("(", r"\(")):
        collected(tmp_path, rows, **settings)
    assert not (tmp_path / "out").exists()


def test_a_label_only_the_test_knows_is_refused(tmp_path: Path):
    own = written(tmp_path / "own.jsonl", [("x", "common"), ("y", "unheard of")])
    with pytest.raises(GroundupError, match="'unheard of' is in the test texts only"):
        collected(tmp_path, ROWS, test=[own])


def test_what_was_collected_is_not_read_again(tmp_path: Path):
    first = collected(tmp_path, ROWS)
    (tmp_path / "out.jsonl").unlink()
    again = collect_labelled(tmp_path / "out", {"train": ["gone"]}, Splitting(), reading={})
    assert again.sha256 == first.sha256 and sides_of(again) == sides_of(first)
