"""What fields are usually called: which one holds the text, which one the label.

One idea: a name is believed only when it is the only one. `text` is the field's own word; any cousin of it is taken when
no other stands beside it, and what is taken is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# `content`: The Pile's kin and code sets; `body`: news and mail; `raw_content`: RedPajama; `document`, `article`: summaries;
# `context`: SQuAD's passages; `sentence`: GLUE; `review`: IMDB's kin.
TEXT_FIELDS = (
    *("text", "content", "body", "document", "article", "passage", "context", "raw_content", "page_content"),
    *("story", "sentence", "review", "abstract", "message", "sms", "tweet"),
)
LABEL_FIELDS = ("label", "labels", "class", "category", "sentiment", "intent", "target")

_ANSWERS = ("instruction", "input", "output", "prompt", "completion", "response", "question", "answer", "query")
_OTHERS = ("messages", "conversations", "chosen", "rejected", "id", "title", "url", "date", "name", "source", "system")
_KNOWN = frozenset((*TEXT_FIELDS, *LABEL_FIELDS, *_ANSWERS, *_OTHERS))


def is_known_name(name: str) -> bool:
    """Whether this is what people call a column, rather than a value in one."""
    return name.strip().lower() in _KNOWN


def label_field(row: Mapping[str, Any]) -> str | None:
    """The field that holds the label, if exactly one is called so; of two columns without names, the one beside the text."""
    if set(row) == {"1", "2"}:
        return next((name for name in row if [name] != text_fields(row)), None) if text_fields(row) else None
    found = [name for name in row if name.strip().lower() in LABEL_FIELDS]
    return found[0] if len(found) == 1 else None


def text_fields(row: Mapping[str, Any]) -> list[str]:
    """The fields that may hold the text: `text` alone where there is one; else its cousins; else the one beside a label.

    A table of two columns without names has its text in the longer one.
    """
    texts = [name for name, value in row.items() if value is None or isinstance(value, str)]
    if "text" in row:
        return ["text"]
    if exact := [name for name in texts if name.strip().lower() == "text"]:
        return exact
    if cousins := [name for name in texts if name.strip().lower() in TEXT_FIELDS]:
        return cousins
    if set(row) == {"1", "2"}:  # a table without names
        longer, other = sorted(row, key=lambda name: -len(str(row[name])))
        return [longer] if not str(row[other]).strip().count(" ") else []
    label = label_field(row)
    others = [name for name in texts if name != label]
    return others if label is not None and len(others) == 1 and len(row) == 2 else []
