"""A small text, and settings of a run that takes seconds."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

SUBJECTS = ["the cat", "a dog", "the old king", "my sister", "a small bird", "the teacher", "every child"]
VERBS = ["sees", "finds", "likes", "wants", "follows", "remembers", "paints"]
OBJECTS = ["the red house", "a warm stone", "the river", "an apple", "the long road", "a quiet song", "the open door"]

TINY = {
    "n_layers": 1,
    "d_model": 32,
    "n_heads": 2,
    "d_ff": 64,
    "size": "d1",
    "context_length": 32,
    "batch_size": 8,
    "micro_batch_size": 4,
    "precision": "fp32",
    "compile": "off",
    "threads": 1,
    "vocab_size": 300,
    "sample_tokens": 8,
    "evaluations": 2,
    "evaluation_tokens": 512,
}


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 short documents made of the same few words."""
    folder = tmp_path_factory.mktemp("stories")
    draw = random.Random(0)
    for number in range(40):
        lines = [f"{draw.choice(SUBJECTS)} {draw.choice(VERBS)} {draw.choice(OBJECTS)}." for _ in range(30)]
        (folder / f"{number:02d}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny() -> dict:
    """Settings of a run that takes a second or two."""
    return dict(TINY)
