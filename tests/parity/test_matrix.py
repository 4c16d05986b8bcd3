"""The page docs/parity.md against the cases there are: each named once, every figure below what the tests allow."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("transformers")

PAGE = Path(__file__).parents[2] / "docs" / "parity.md"


def rows() -> dict[tuple[str, str], list[str]]:
    lines = [line.strip("| \n").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    header, *found = [[cell.strip() for cell in line] for line in lines]
    assert header == ["architecture", "case", "written by", "opened", "decoding", "saved back", "greedy"]
    by_case = {("ours" if row[2] == "Groundup" else "theirs", row[1]): row for row in found}
    assert len(by_case) == len(found), "a case is named twice"
    return by_case


def test_the_page_names_every_case_and_no_other() -> None:
    spec = importlib.util.spec_from_file_location("back", Path(__file__).with_name("test_saving_back.py"))
    assert spec is not None and spec.loader is not None
    back = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(back)
    found = rows()
    assert set(found) == set(back.CASES), "run python benchmarks/parity.py"
    for (kind, _), row in found.items():
        differences = [float(cell) for cell in row[3:6] if cell]
        assert len(differences) == (2 if kind == "ours" else 3)
        assert max(differences) < back.cases.TOLERANCE
        assert int(row[6]) == back.N_NEW
