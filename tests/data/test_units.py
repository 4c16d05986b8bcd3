from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from groundup.data import units
from groundup.data.units import encode_units, units_of


class Gathering:
    """A writer that keeps what it is given, and says that it has some units already."""

    def __init__(self, n_units: int = 0) -> None:
        self.n_units = n_units
        self.found: list[tuple[list[int], bool, int]] = []

    def add(self, ids: np.ndarray, ends: bool, n_bytes: int) -> None:
        self.found.append((ids.tolist(), ends, n_bytes))


def pieces(text: str, size: int) -> list[tuple[int, str, bool]]:
    starts = range(0, len(text), size)
    return [(0, text[start : start + size], start == starts[-1]) for start in starts]


@pytest.mark.parametrize("size", [1, 7, 300, 10_000])
def test_units_do_not_depend_on_the_pieces(tokenizer, monkeypatch, size: int) -> None:
    monkeypatch.setattr(units, "_UNIT_CHARACTERS", 100)
    text = "the cat sees the dog " * 80
    found = list(units_of(iter(pieces(text, size)), tokenizer.safe_cut, Counter()))
    assert "".join(part for _, part, _ in found) == text
    assert [ends for *_, ends in found] == [False] * (len(found) - 1) + [True]
    assert found == list(units_of(iter(pieces(text, 50)), tokenizer.safe_cut, Counter())) and len(found) == 18


def test_units_are_encoded_in_order_and_those_there_already_skipped(tokenizer) -> None:
    made = [(i % 2, f"word{i} and é", i % 3 == 0) for i in range(30)]
    writers, heard = [Gathering(), Gathering(10)], []
    encode_units(iter(made), tokenizer, 1, writers, heard.append)
    given = [(tokenizer.encode(text), ends, len(text.encode())) for side, text, ends in made if side == 0]
    assert writers[0].found == given
    assert len(writers[1].found) == 5 and tokenizer.n_encoded == 20
