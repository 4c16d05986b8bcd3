"""A model part by part: shapes, parameters, arithmetic, memory.

The one idea: everything a model costs follows from its matrices. A weight is multiplied and added once forward and
twice backward (Kaplan et al. 2020, section 2.1); in training it brings a gradient and what the optimizer remembers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rich.console import Group, RenderableType

from groundup.core.files import readable_bytes
from groundup.inspect.page import page, readable_count, table
from groundup.inspect.terminal import terminal_table
from groundup.models.base import LanguageModel

_HEADER = ("part", "shape", "copies", "parameters", "share")


@dataclass(frozen=True)
class Part:
    """Equal parameters of all layers together: `shape` of one, how many there are."""

    name: str
    shape: tuple[int, ...]
    n_copies: int
    n_parameters: int


def model_parts(model: LanguageModel) -> list[Part]:
    """Every parameter once, those of the layers gathered under one name, in the order of the model."""
    gathered: dict[str, Part] = {}
    for name, parameter in model.named_parameters():
        name = re.sub(r"\.\d+\.", ".*.", name)
        before = gathered.get(name, Part(name, tuple(parameter.shape), 0, 0))
        assert before.shape == tuple(parameter.shape), f"{name} differs between layers"
        gathered[name] = Part(name, before.shape, before.n_copies + 1, before.n_parameters + parameter.numel())
    return list(gathered.values())


def training_memory_bytes(model: LanguageModel, *, muon: bool = True) -> dict[str, int]:
    """Bytes training holds for the weights: fp32 weights, gradients, and the optimizer's memory of them.

    Muon remembers one number a weight of the matrices, AdamW two for every other. What the layers keep for the
    backward pass is not in here: it grows with the batch and is measured, not guessed (`groundup plan`).
    """
    counts = {role: sum(p.numel() for _, p in of) for role, of in model.parameter_roles().items()}
    n_all = sum(counts.values())
    n_remembered = 2 * n_all - (counts["matrices"] if muon else 0)
    return {"weights": 4 * n_all, "gradients": 4 * n_all, "optimizer": 4 * n_remembered}


def architecture_terminal(model: LanguageModel) -> RenderableType:
    """The parts of the model as a table, then what a token costs and what training holds."""
    facts = terminal_table(("", ""), _facts(model))
    facts.show_header = False
    return Group(terminal_table(_HEADER, _rows(model), numbers=(2, 3, 4)), "", facts)


def architecture_html(model: LanguageModel) -> str:
    """The same as a page."""
    name = model.config.architecture
    body = f"<h1>{name}</h1>{table(_rows(model), _HEADER)}<h2>What it costs</h2>{table(_facts(model))}"
    return page(f"{name}, part by part", body)


def _rows(model: LanguageModel) -> list[tuple[str, str, str, str, str]]:
    parts = model_parts(model)
    total = sum(part.n_parameters for part in parts)
    return [
        (
            part.name.removesuffix(".weight"),
            " × ".join(f"{n:,}" for n in part.shape),
            f"{part.n_copies:,}",
            f"{part.n_parameters:,}",
            f"{part.n_parameters / total:.1%}",
        )
        for part in parts
    ]


def _facts(model: LanguageModel) -> list[tuple[str, str]]:
    config, memory = model.config, training_memory_bytes(model)
    flops = model.flops_per_token()
    in_attention = config.mixing_flops_per_token(config.context_length)
    length, cache = f"{config.context_length:,}", config.state_bytes(1)
    full_cache = readable_bytes(config.state_bytes(config.context_length))
    return [
        ("parameters", f"{model.n_parameters():,}, without embeddings {model.n_parameters(embeddings=False):,}"),
        (
            "arithmetic to train on a token",
            f"{readable_count(flops)} FLOPs at context {length}, {in_attention / flops:.0%} in attention",
        ),
        (
            "key-value cache",
            f"{readable_bytes(cache)} a token in fp32, {full_cache} for a full context",
        ),
        (
            "memory to train",
            ", ".join(f"{name} {readable_bytes(n)}" for name, n in memory.items())
            + f": {readable_bytes(sum(memory.values()))}, and activations",
        ),
    ]
