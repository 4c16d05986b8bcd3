"""What a plan says: the sizes that were weighed, the one taken, what is expected of it, and why.

Written beside a run as `plan.json`, so that its report can hold the forecast against what happened.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from groundup.core.errors import GroundupError
from groundup.core.files import read_json, readable_bytes, write_json
from groundup.pretraining.forecast import Anchor, Difficulty, forecast_loss


@dataclass(frozen=True)
class Candidate:
    """A size, and what would come of it."""

    size: str
    n_parameters: int
    rehearsed: bool  # timed here, or estimated from a neighbour
    tokens_per_second: float  # while it trains
    batch_size: int
    steps: int
    tokens: int
    epochs: float
    training_seconds: float
    last_look_seconds: float
    evaluation_tokens: int
    compile: bool
    compile_reason: str
    memory_bytes: int
    disk_bytes: int
    loss: float  # nats a token, on the validation text
    bits_per_byte: float
    fits: bool  # in the memory that is free

    @property
    def seconds(self) -> float:
        """The whole training stage, to the saved model."""
        return self.training_seconds + self.last_look_seconds


@dataclass(frozen=True)
class Plan:
    """What will be trained and what is expected of it; `plan.json` of a run folder."""

    size: str
    n_layers: int
    d_model: int
    n_parameters: int
    matrix_parameters: int
    vocab_size: int
    context_length: int
    batch_size: int
    micro_batch_size: int
    steps: int
    tokens: int
    epochs: float
    learning_rate: float
    embedding_learning_rate: float
    head_learning_rate: float
    vector_learning_rate: float
    weight_decay: float
    warmup: float
    decay: float
    precision: str
    precision_reason: str
    compile: bool
    compile_reason: str
    evaluation_tokens: int
    device: str
    # --- what is expected
    training_seconds: float  # the loop's budget: compiling, steps, and the evaluations, samples and saves between them
    last_look_seconds: float  # what follows: all of the validation text, a sample, the last save
    wall_seconds: float  # all of it and starting up; planning apart
    planning_seconds: float
    tokens_per_second: float
    memory_bytes: int
    disk_bytes: int
    loss: float
    bits_per_byte: float
    # --- why
    train_tokens: int
    difficulty: Difficulty  # of the text
    candidates: tuple[Candidate, ...]
    reason: str

    def write(self, path: str | Path) -> None:
        """Write the plan as JSON, atomically."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: str | Path) -> Plan:
        """Read what `write` wrote."""
        values = read_json(path)
        try:
            values["candidates"] = tuple(Candidate(**candidate) for candidate in values["candidates"])
            anchors = values["difficulty"].pop("anchors")
            values["difficulty"] = Difficulty(
                tuple(Anchor(a["n_tokens"], tuple(a["losses"])) for a in anchors), **values["difficulty"]
            )
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise GroundupError(
                f"{path} is not a plan of this version ({type(error).__name__}: {error}); start a new run with the same settings"
            ) from None

    def loss_at(self, n_tokens: int) -> float:
        """The loss expected after another number of tokens: for a report, when the machine was busier than rehearsed."""
        return forecast_loss(self.difficulty, self.matrix_parameters, n_tokens)

    def settings(self) -> dict[str, Any]:
        """The plan as settings of `PretrainConfig`: what a run needs to carry it out."""
        names = (
            "size", "context_length", "batch_size", "micro_batch_size", "learning_rate", "embedding_learning_rate",
            "head_learning_rate", "vector_learning_rate", "weight_decay", "warmup", "decay", "precision", "evaluation_tokens",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names} | {"compile": "on" if self.compile else "off"}

    def table(self) -> list[str]:
        """The candidates as lines of text, the chosen one marked; `~` before a speed that is estimated."""
        rows = [
            ("", "size", "parameters", "tokens/s", "tokens", "epochs", "time", "memory", "disk", "loss", "bits/byte")
        ]
        for candidate in self.candidates:
            rows.append(
                (
                    ">" if candidate.size == self.size else "",
                    candidate.size,
                    readable_count(candidate.n_parameters),
                    ("" if candidate.rehearsed else "~") + f"{candidate.tokens_per_second:,.0f}",
                    readable_count(candidate.tokens),
                    f"{candidate.epochs:.2g}" if candidate.epochs < 10 else f"{candidate.epochs:.0f}",
                    readable_seconds(candidate.seconds),
                    readable_bytes(candidate.memory_bytes) + ("" if candidate.fits else " (too much)"),
                    readable_bytes(candidate.disk_bytes),
                    f"{candidate.loss:.3f}",
                    f"{candidate.bits_per_byte:.3f}",
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def readable_seconds(seconds: float) -> str:
    """`75` as `1 min 15 s`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def readable_count(number: float) -> str:
    """`1536000` as `1.5M`."""
    for unit in ("", "k", "M", "B"):
        if number < 999.5:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g}T"
