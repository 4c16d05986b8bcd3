"""Small texts, settings of a run that takes seconds, and a machine of a known speed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from groundup.data.prepare import prepare
from groundup.data.store import TokenStore
from groundup.pretraining import planner
from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.course import COMPILED_GAIN
from groundup.pretraining.plan import Plan
from groundup.pretraining.planner import plan
from groundup.pretraining.rehearsal import Rehearsal
from groundup.tokenization.training import train_tokenizer

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


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """Sixty short documents of an invented language, about 60,000 tokens."""
    folder = tmp_path_factory.mktemp("text")
    draw = np.random.default_rng(0)
    words = ["".join(draw.choice(list("abcdefgh"), draw.integers(2, 7))) for _ in range(200)]
    texts = [" ".join(words[i] for i in draw.integers(0, 200, 600) ** 2 // 200) for _ in range(60)]
    for i, text in enumerate(texts):
        (folder / f"{i:02d}.txt").write_text(text)
    return prepare([folder], train_tokenizer(texts, vocab_size=400), folder / "store")


@pytest.fixture(scope="session")
def settings() -> Callable[..., PretrainConfig]:
    """Settings of a plan for that text."""
    return lambda **values: PretrainConfig.build({"context_length": 32, "precision": "fp32", **values})


@pytest.fixture(scope="session")
def timed(store: TokenStore, settings: Callable[..., PretrainConfig]) -> Plan:
    """A plan made by rehearsing here."""
    return plan(store, settings(time=20.0))


class Machine:
    """A machine of a known speed, on which rehearsing takes a known time; it has a clock of its own."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, flops: float, rehearsal_seconds: float = 0.01, saving: float = 0.0
    ) -> None:
        self.flops, self.rehearsal_seconds, self.saving, self.now = flops, rehearsal_seconds, saving, 0.0
        self.rehearsed: list[int] = []
        self.n_rows: list[int] = []
        monkeypatch.setattr(planner, "rehearse", self.rehearse)
        monkeypatch.setattr(planner, "compiled_gain", lambda *_: COMPILED_GAIN)
        monkeypatch.setattr(planner.time, "perf_counter", lambda: self.now)

    def rehearse(self, config, windows, settings, *, n_rows: int, **_) -> Rehearsal:
        self.now += self.rehearsal_seconds
        self.n_rows.append(n_rows)
        self.rehearsed.append(config.n_layers)
        row_seconds = self.row_seconds(config, n_rows)
        weights = 4 * config.n_parameters()
        return Rehearsal(
            "cpu", "fp32", "fp32: known", n_rows, row_seconds, 0.0, row_seconds / 3, 1e-6, 10**5, weights, 2 * weights
        )

    def row_seconds(self, config, n_rows: int) -> float:
        """Seconds of a window; `saving` is the share that windows beside it can save."""
        return config.flops_per_token() * config.context_length / self.flops * (1 - self.saving * (1 - 1 / n_rows))


@pytest.fixture
def machine_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """Put the planner on a machine of so many flops a second."""
    return lambda flops, **values: Machine(monkeypatch, flops, **values)
