"""Architectures side by side, as a table and as a page: how fast each learns, what it takes, how it writes.

The one idea: there is no single winner, so every axis gets a picture. Loss against time says what a machine gets for an hour,
loss against tokens what a text gives; the speed of writing by length shows what looking back at everything costs.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType

from groundup.core.files import readable_bytes
from groundup.inspect.page import escape, page, readable, readable_count, table
from groundup.inspect.plots import Series, line_chart
from groundup.inspect.terminal import terminal_table


@dataclass(frozen=True)
class ComparedModel:
    """One model of a comparison; losses are nats a token, speeds tokens a second, None what was not measured."""

    name: str
    run: str
    n_layers: int
    d_model: int
    n_parameters: int
    n_block_parameters: int  # without embeddings and head
    precision: str
    batch_size: int
    n_tokens: int | None
    training_seconds: float | None
    peak_memory_bytes: int | None  # of the whole process that trained it
    tokens_per_second: float  # in training, the median step
    val_loss: float | None
    val_bits_per_byte: float | None
    state_bytes: int  # of decoding, fp32, after a full context
    looks: tuple[tuple[int, float, float], ...]  # (tokens, seconds, validation loss)
    losses: tuple[tuple[int, float, float], ...]  # (tokens, seconds, training loss)
    writing_speed: dict[int, float]  # by the length of the text
    sample: tuple[str, str] | None  # (prompt, text)


@dataclass(frozen=True)
class Comparison:
    """Models trained on one text with one budget."""

    models: tuple[ComparedModel, ...]
    data: str
    vocab_size: int
    context_length: int
    target_parameters: int
    budget: str

    def best(self) -> ComparedModel | None:
        """The model with the lowest validation loss; None when there was no validation text."""
        scored = [model for model in self.models if model.val_loss is not None]
        return min(scored, key=lambda model: model.val_loss or 0.0) if scored else None


def comparison_terminal(found: Comparison) -> RenderableType:
    """What each model came to, a column each; then how fast they write."""
    header = ("", *(model.name for model in found.models))
    numbers = range(1, len(header))
    return Group(
        terminal_table(header, _rows(found), numbers),
        "",
        "tokens a second, writing one text",
        terminal_table(header, _speeds(found), numbers),
    )


def comparison_page(found: Comparison) -> str:
    """The same as a page with the curves and the samples."""
    header = ("", *(model.name for model in found.models))
    shared = (
        f"The same text ({found.data}), the same {found.vocab_size:,} tokens, a context of {found.context_length:,}, the same "
        f"budget ({found.budget}), and as near to {found.target_parameters:,} parameters as each can be built. Each was trained "
        "alone, with the batch, the arithmetic and the learning rates of its own plan."
    )
    guessing = (
        f"In nats a token; guessing among {found.vocab_size:,} tokens has {math.log(found.vocab_size):.2f}, and what is worse "
        "than that is cut off."
    )
    writing = [Series(m.name, list(m.writing_speed), list(m.writing_speed.values()), marked=True) for m in found.models]
    speed = _chart("Tokens a second, by how much was read", writing, "tokens in the text", from_zero=True, log_x=True)
    samples = "".join(_sample(model.name, *model.sample) for model in found.models if model.sample)
    body = (
        f"<h1>{escape(', '.join(header[1:]))}</h1><p class='soft'>{escape(shared)}</p>{table(_rows(found), header)}"
        f"<h2>Learning</h2><p class='soft'>{escape(guessing)}</p><div class='charts'>{_learning(found)}</div>"
        "<h2>Writing</h2><p class='soft'>One text at a time, in fp32. Attention looks back at everything; a recurrent state "
        f"does not grow.</p><div class='charts'>{speed}{table(_speeds(found), header)}</div>"
        + (f"<h2>What they write</h2><div class='pair'>{samples}</div>" if samples else "")
        + f"<h2>Next</h2><pre>{escape(chr(10).join(next_commands(found)))}</pre>"
    )
    return page("Architectures compared", body)


def _learning(found: Comparison) -> str:
    """Four charts: validation and training loss, against time and against tokens."""
    charts = ""
    for title, is_looks in (("Validation loss", True), ("Training loss", False)):
        for against, x_label, x in (("time", "seconds of training", 1), ("tokens", "tokens read", 0)):
            curves = []
            for model in found.models:
                points = model.looks if is_looks else model.losses
                curves.append(
                    Series(model.name, [one[x] for one in points], [one[2] for one in points], marked=is_looks)
                )
            if any(len(curve.x) for curve in curves):
                charts += _chart(f"{title} against {against}", curves, x_label, y_max=math.log(found.vocab_size) + 0.3)
    return charts


def _sample(name: str, prompt: str, text: str) -> str:
    shown = f'<div class="text"><b>{escape(prompt)}</b>{escape(text)}</div>'
    return f"<figure><figcaption>{escape(name)}</figcaption>{shown}</figure>"


def next_commands(found: Comparison) -> list[str]:
    """Command lines that go on from here."""
    best = found.best() or found.models[0]
    place, prompt = shlex.quote(best.run), shlex.quote(best.sample[0] if best.sample else "The")
    dashes = "-- " if prompt.lstrip("'").startswith("-") else ""
    return [f"groundup generate {place} {dashes}{prompt}", f"groundup inspect model {place}"]


def _rows(found: Comparison) -> list[tuple[str, ...]]:
    """One line a figure, one cell a model."""
    figures = {
        "validation loss": lambda m: "–" if m.val_loss is None else f"{m.val_loss:.4f}",
        "bits per byte": lambda m: "–" if m.val_bits_per_byte is None else f"{m.val_bits_per_byte:.4f}",
        "parameters": lambda m: f"{m.n_parameters:,}",
        "off those asked for": lambda m: f"{m.n_parameters / found.target_parameters - 1:+.1%}",
        "of them in blocks": lambda m: f"{m.n_block_parameters:,}",
        "layers x width": lambda m: f"{m.n_layers} x {m.d_model:,}",
        "tokens read": lambda m: "–" if m.n_tokens is None else readable_count(m.n_tokens),
        "training time": lambda m: readable(m.training_seconds, "seconds"),
        "tokens/s, training": lambda m: f"{m.tokens_per_second:,.0f}",
        "arithmetic, batch": lambda m: f"{m.precision}, {m.batch_size:,}",
        "peak memory": lambda m: readable(m.peak_memory_bytes, "bytes"),
        "decode state, full": lambda m: readable_bytes(m.state_bytes),
    }
    return [(name, *(cell(model) for model in found.models)) for name, cell in figures.items()]


def _speeds(found: Comparison) -> list[tuple[str, ...]]:
    """One line a length of text, one cell a model."""
    return [
        (f"after {length:,} tokens", *(f"{model.writing_speed[length]:,.0f}" for model in found.models))
        for length in found.models[0].writing_speed
    ]


def _chart(title: str, curves: list[Series], x_label: str, **how: Any) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{line_chart(curves, x_label, **how)}</figure>"
