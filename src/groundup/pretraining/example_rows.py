"""Rows to fine-tune on, made of the documentation that every Python carries: texts with labels, and pairs of answers.

The one idea: the first sentence about each public name (`quickstart_questions`) is data of three kinds. With its package as a
label it is a text to classify; after a question it is a conversation; beside a spoiled copy of itself it is a preference. The
rows are small and plain, so that every kind of fine-tuning can be tried with no network. The same Python gives the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from groundup.core.errors import GroundupError, unknown_name
from groundup.core.files import folder_written_atomically
from groundup.pretraining.quickstart_questions import (
    HELD_OUT,
    TRAIN,
    Explained,
    explained_names,
    question_about,
    write_quickstart_questions,
)

KINDS = ("labelled", "conversation", "preference")
LABELLED, PAIRS = "labelled.jsonl", "pairs.jsonl"
N_LABELS = 6
N_PAIRS = 400


def write_example_rows(folder: str | Path, kind: str) -> str:
    """Write rows of `kind` into `folder` and say what they are.

    `labelled`: `labelled.jsonl`, sentences of the six packages that have most, each with its package; `conversation`: `train.jsonl`
    and `held-out.jsonl`, the quickstart's questions; `preference`: `pairs.jsonl`, 400 questions with the sentence (chosen)
    and cut or in capitals (rejected). Raises `GroundupError` for another kind, for a folder that holds anything else, and
    when this Python carries no documentation.
    """
    folder = Path(folder)
    if kind not in KINDS:
        raise unknown_name("kind of rows", kind, KINDS)
    if folder.is_dir() and {entry.name for entry in folder.iterdir()} - {LABELLED, PAIRS, TRAIN, HELD_OUT}:
        raise GroundupError(
            f"{folder} holds other files, which the rows would replace; choose an empty or a new folder"
        )
    if kind == "conversation":
        return str(write_quickstart_questions(folder))
    explained = list(explained_names())
    if not explained:
        raise GroundupError("this Python carries no docstrings (run with -OO, or slimmed down); use another Python")
    name, rows = (LABELLED, _labelled(explained)) if kind == "labelled" else (PAIRS, _pairs(explained))
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    with folder_written_atomically(folder) as place:
        (place / name).write_text("".join(lines), encoding="utf-8")
    if kind == "labelled":
        return f"{len(lines):,} sentences of the documentation, each with the package it is about"
    return f"{len(lines):,} questions, each with a sentence of the documentation and the same cut or in capitals"


def _labelled(explained: list[Explained]) -> Iterator[dict[str, str]]:
    sizes = Counter(_package(one) for one in explained)
    largest = {name for name, _ in sizes.most_common(N_LABELS)}
    yield from ({"text": one.sentence, "label": _package(one)} for one in explained if _package(one) in largest)


def _package(one: Explained) -> str:
    return one.name.split(".")[0]


def _pairs(explained: list[Explained]) -> Iterator[dict[str, str]]:
    for number, one in enumerate(explained[:: max(1, len(explained) // N_PAIRS)][:N_PAIRS]):
        words = one.sentence.split()
        spoiled = one.sentence.upper() if number % 2 else " ".join(words[: len(words) // 2])
        yield {"prompt": question_about(one), "chosen": one.sentence, "rejected": spoiled}
