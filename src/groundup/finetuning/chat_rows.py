"""What instructions and preferences do alike with their files: read, render by the model's template, hold a share out.

The one idea: which side of the split a row falls on is a function of its prompt and the seed, so the same question is never on
both, whatever the order of the files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from groundup.chat.renderer import Renderer
from groundup.chat.templates import find_template
from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.data.reading_records import Records, read_records
from groundup.finetuning.base_model import tokenizer_and_context
from groundup.finetuning.config import FinetuneConfig, Fraction

MOST_VALIDATION = 500  # rows; a loss over so many is known to a few percent, a share to two


class ChatConfig(FinetuneConfig):
    """Settings of the methods that learn from conversations."""

    template: str | None = Field(
        default=None,
        description="chatml, alpaca, llama3, phi, own (the model's) or a .jinja file; the model's own, else chatml.",
        json_schema_extra={"metavar": "NAME|FILE"},
    )
    max_rejected: Fraction = Field(default=0.05, description="Share of the rows that may be refused; more is an error.")


def open_renderer(config: ChatConfig, most: int, reporter: Reporter) -> tuple[Renderer, int]:
    """The renderer of the model's conversations, and the positions a row may have (`most` where nothing is asked).

    Raises `GroundupError` for a template that cannot be trained with, and a context the model does not have.
    """
    tokenizer, model_context = tokenizer_and_context(config.model)
    renderer = Renderer(tokenizer, find_template(config.template, tokenizer))
    renderer.check()
    length = config.context_length or min(model_context or most, most)
    if model_context is not None and length > model_context:
        raise GroundupError(
            f"context_length {length} exceeds the {model_context} positions this model has; make it smaller"
        )
    reporter.say(f"template    {renderer.template.name}")
    return renderer, length


def read(config: ChatConfig, paths: Sequence[str], kind: Literal["conversation", "preference"]) -> Records:
    """The records of some files, as the settings say; rows that cannot be used are counted."""
    if not paths:
        raise GroundupError("nothing to learn from; name files of examples")
    return read_records(
        list(paths), kind, format=config.format, map=config.map, encoding=config.encoding, on_bad_row="skip"
    )


def check_rejected(n_rejected: int, n: int, reasons: str, config: ChatConfig) -> None:
    """Refuse a run that would leave out more than a small share of its rows: an error, never a smaller training."""
    if n_rejected > config.max_rejected * n:
        raise GroundupError(
            f"{n_rejected:,} of {n:,} rows cannot be learned from, and at most {config.max_rejected:.0%} may be left out: "
            f"{reasons}. Repair them, or allow more with max_rejected (above {n_rejected / max(1, n):.2f})"
        )


def prompt_key(messages: Sequence[Mapping[str, Any]]) -> str:
    """The hash of a prompt."""
    text = json.dumps(messages, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def validation_share(config: FinetuneConfig, n: int) -> float:
    """The share of `n` rows that is held out; none where there are files of their own for it."""
    if config.validation_data:
        return 0.0
    return min(0.1, MOST_VALIDATION / max(1, n)) if config.validation_fraction is None else config.validation_fraction


def held_out(prompts: Sequence[str], share: float, seed: int) -> list[bool]:
    """Which rows are for validation: the share of them whose seeded hash is smallest, equal prompts together."""
    keys = [hashlib.sha256(f"{seed} {prompt}".encode()).digest() for prompt in prompts]
    wanted = round(len(keys) * share)
    if not wanted:
        return [False] * len(keys)
    last = sorted(keys)[wanted - 1]
    return [key <= last for key in keys]
