"""The forms in which a conversation with tool calls is offered to a template, the plainest first.

Published templates disagree on what a message that only calls tools looks like. Most want what `transformers` gives them:
arguments as an object, and no more than there is. Mistral's want identifiers of nine letters. Others were written for OpenAI's own
form: no content, and arguments as a text of JSON. So a template that refuses one is offered the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Messages = list[dict[str, Any]]


def forms_of(messages: Sequence[Mapping[str, Any]]) -> Iterator[Messages]:
    """The messages, `weight` and fields without a value left out; then, where tools are called, the other forms."""
    plain = [_plain(message) for message in messages]
    yield plain
    if any(message.get("tool_calls") for message in plain):
        numbered = _numbered(plain)
        yield numbered
        yield [_as_sent(message) for message in numbered]


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """What is there, and thinking under both names that templates read, as `transformers` gives it."""
    plain = {key: value for key, value in message.items() if value is not None and key != "weight"}
    thought = next((plain[name] for name in ("reasoning_content", "thinking", "reasoning") if name in plain), None)
    return plain if thought is None else {"thinking": thought, **plain, "reasoning_content": thought}


def _numbered(messages: Messages) -> Messages:
    """Every call with an identifier of nine letters, and every result with that of its call, in order."""
    waiting: list[str] = []
    found, n = [], 0
    for message in messages:
        if message.get("tool_calls"):
            calls = []
            for call in message["tool_calls"]:
                n += 1
                calls.append({"id": f"call{n:05d}"} | call)
            waiting = [call["id"] for call in calls]
            message = message | {"tool_calls": calls}
        elif message["role"] == "tool" and waiting:
            message = {"tool_call_id": waiting.pop(0)} | message
        found.append(message)
    return found


def _as_sent(message: dict[str, Any]) -> dict[str, Any]:
    if not message.get("tool_calls"):
        return message
    calls = []
    for call in message["tool_calls"]:
        function = call["function"]
        arguments = function.get("arguments", {})
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        calls.append(call | {"function": function | {"arguments": text}})
    return message | {"content": message.get("content") or None, "tool_calls": calls}


def function_names(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[str]:
    """The functions that are offered and called, which a template has to name."""
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    named = [each.get("function", each).get("name") for each in (*tools, *calls)]
    return [name for name in named if isinstance(name, str)]
