"""What a row becomes in memory: one canonical form for each thing a row can be.

One idea: whatever spelling a file uses (alpaca, ShareGPT, prompt and completion ...), the rooms after this one see four
forms only. Messages are OpenAI's: dictionaries with `role` (system, user, assistant or tool) and `content`; an assistant's
`tool_calls` hold their arguments as objects, which is what chat templates want; `weight` 0 means: not to be learned.
`line` is where a record lies in its file (in binary tables its row), from 1; 0 where it came from no row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from groundup.data.remote import Place

Message = dict[str, Any]
Messages = tuple[Message, ...]


@dataclass(frozen=True)
class Document:
    """One whole text; `index` counts the documents of its source."""

    text: str
    source: Place
    index: int
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Conversation:
    """Messages in order, and the tools the assistant may call (OpenAI's function descriptions)."""

    messages: Messages
    tools: tuple[dict[str, Any], ...]
    source: Place
    index: int
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Preference:
    """An answer people preferred to another, after the same prompt.

    A single judged answer (KTO) has one side: `rejected` is None when it was liked, `chosen` when it was not.
    """

    prompt: Messages
    chosen: Messages | None
    rejected: Messages | None
    tools: tuple[dict[str, Any], ...]
    source: Place
    index: int
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class LabelledText:
    """A text and the name of its class; of several, the names with `|` between them, and of none an empty one."""

    text: str
    label: str
    source: Place
    index: int
    line: int = field(default=0, compare=False)


BETWEEN_LABELS = "|"

Record = Document | Conversation | Preference | LabelledText


def place_of(record: Record) -> str:
    """Where a record came from, as an editor opens it: `talks.jsonl:12`."""
    return f"{record.source}:{record.line}" if record.line else f"{record.source}, record {record.index + 1}"


KINDS: dict[str, type[Record]] = {
    "document": Document,
    "conversation": Conversation,
    "preference": Preference,
    "labelled": LabelledText,
}
