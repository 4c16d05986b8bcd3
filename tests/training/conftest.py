"""A job so small that a step takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from groundup.data.batches import Batch
from groundup.models import LanguageModel, build_model, config_for_size
from groundup.training.job import Budget, Job
from groundup.training.objectives import next_token_loss
from groundup.training.optimizers import Optimizer, OptimizerSettings

VOCAB, LENGTH = 31, 16


@pytest.fixture
def tiny_model() -> Callable[..., LanguageModel]:
    """Make a model of one layer; `architecture` and fields of its configuration can be given."""

    def make(architecture: str = "qwen3", seed: int = 0, **fields) -> LanguageModel:
        sizes = {"n_layers": 1, "d_model": 32, "d_head": 16, "d_ff": 64} | fields
        return build_model(config_for_size("d1", VOCAB, LENGTH, architecture, **sizes), seed)

    return make


@pytest.fixture
def rows() -> Callable[..., Batch]:
    """Make a batch of arithmetic progressions modulo the vocabulary; `masked` labels of each row's start are -100."""

    def make(n: int, seed: int, masked: int = 0) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        start = torch.randint(0, VOCAB, (n, 1), generator=generator)
        tokens = (start + 3 * torch.arange(LENGTH + 1)) % VOCAB
        labels = tokens[:, 1:].clone()
        labels[:, :masked] = -100
        return Batch(tokens[:, :-1].contiguous(), labels)

    return make


@pytest.fixture
def settings() -> OptimizerSettings:
    return OptimizerSettings(0.02, 0.01, 0.005, 0.01, weight_decay=0.1)


@pytest.fixture
def make_job(tiny_model, rows, settings) -> Callable[..., Job]:
    """Make a job of ten steps on a fresh model; any field of `Job` can be given."""

    def make(model: LanguageModel | None = None, optimizer_settings=settings, **fields) -> Job:
        model = tiny_model() if model is None else model
        job = Job(
            model,
            lambda step: [rows(4, 2 * step), rows(4, 2 * step + 1)],
            next_token_loss,
            Optimizer(model, optimizer_settings),
            Budget(steps=10),
        )
        return replace(job, **fields)

    return make
