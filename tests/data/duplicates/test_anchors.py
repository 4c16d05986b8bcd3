"""Anchors: every stretch long enough holds one, and equal stretches hold the same."""

from __future__ import annotations

import random

import numpy as np
import pytest

from groundup.data.duplicates import anchors as module
from groundup.data.duplicates.anchors import anchors


def all_anchors(text: bytes, length: int, window: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for places, hashes in anchors(text, length, window):
        assert (np.diff(places) > 0).all()
        for place, hash_ in zip(places.tolist(), hashes.tolist(), strict=True):
            assert place not in found
            found[place] = hash_
    return found


def random_bytes(chance: random.Random, n: int, alphabet: bytes = b"etaoin shrdlu") -> bytes:
    return bytes(chance.choices(alphabet, k=n))


@pytest.mark.parametrize("block", [1, 50, 97, 1 << 20])
def test_blocks_change_nothing(monkeypatch, block: int):
    text = random_bytes(random.Random(0), 2000) + b"a" * 100 + b"ab" * 50
    whole = all_anchors(text, 20, 6)
    monkeypatch.setattr(module, "_BLOCK_BYTES", block)
    assert all_anchors(text, 20, 6) == whole


def test_every_window_holds_an_anchor_and_equal_stretches_the_same_ones():
    chance = random.Random(1)
    shared = random_bytes(chance, 400)
    texts = [random_bytes(chance, 300) + shared + random_bytes(chance, 200), random_bytes(chance, 77) + shared]
    length, window = 30, 9
    inside = []
    for text in texts:
        found = all_anchors(text, length, window)
        places = np.array(sorted(found))
        assert np.diff(places).max() <= window and places[0] < window
        begin = text.index(shared)
        # Within window - 1 of the border a place may be an anchor thanks to what stands outside.
        inner = range(begin + window - 1, begin + 400 - length - window + 2)
        inside.append({place - begin: found[place] for place in inner if place in found})
    assert inside[0] == inside[1]
    assert len(inside[0]) > 50


def test_about_two_in_window_plus_one_are_anchors():
    text = random_bytes(random.Random(2), 200_000)
    assert len(all_anchors(text, 176, 25)) / len(text) == pytest.approx(2 / 26, rel=0.02)


@pytest.mark.parametrize("n_bytes", [0, 1, 24, 25])
def test_texts_shorter_than_a_window_of_hashes_have_none(n_bytes: int):
    assert bool(all_anchors(b"x" * n_bytes, 20, 6)) == (n_bytes >= 25)
