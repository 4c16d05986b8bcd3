"""Messages in any spelling, to OpenAI's: OpenAI (`role`, `content`) and ShareGPT (`from`, `value`), with tools.

Sources: OpenAI's chat format (tool_calls, tool_call_id, weight), ShareGPT as FastChat trains on it (human, gpt), the roles
`function_call` and `observation` as LLaMA-Factory's tool data has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from groundup.data.formats.rows import shown
from groundup.data.records import Message, Messages
from groundup.data.shapes.base import Rejected

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bard", "bing", "model", "bot"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "function_response", "ipython"), "tool"),
    **dict.fromkeys(("function_call", "tool_call"), "assistant"),
}
_CALLING = ("function_call", "tool_call")
_KEPT = ("name", "tool_call_id", "reasoning_content")


def are_messages(value: Any) -> bool:
    """Whether a value is a list of messages in a spelling that is known."""
    return isinstance(value, list) and all(is_message(item) for item in value)


def is_message(value: Any) -> bool:
    """Whether a value is one message."""
    return isinstance(value, dict) and ("role" in value or "from" in value)


def to_messages(values: Iterable[Any]) -> Messages:
    """Messages in canonical form. Raises `Rejected` naming the message that cannot be one."""
    return tuple(to_message(value, number) for number, value in enumerate(values, 1))


def to_message(value: Any, number: int = 1) -> Message:
    """One message in canonical form; `number` is its place in the conversation."""
    if not is_message(value):
        raise Rejected(f"message {number} has no role", f": {shown(repr(value))}")
    said = value.get("role", value.get("from"))
    role = ROLES.get(str(said).strip().lower())
    if role is None:
        raise Rejected(f"unknown role {shown(repr(said))}", f" in message {number} (known: {', '.join(ROLES)})")
    content = value.get("content", value.get("value"))
    if str(said).strip().lower() in _CALLING:
        return {"role": "assistant", "content": "", "tool_calls": [*_calls(_parsed(content, "a tool call is"))]}
    message: Message = {"role": role, "content": _content(content, number)}
    if value.get("tool_calls"):
        message["tool_calls"] = [*_calls(value["tool_calls"])]
    message |= {name: value[name] for name in _KEPT if value.get(name) is not None}
    weight = value.get("weight", value.get("loss_weight"))
    if weight is not None:
        message["weight"] = weight
    if not message["content"] and not message.get("tool_calls") and role in ("user", "assistant"):
        raise Rejected(f"message {number} ({role}) is empty")
    return message


def to_tools(value: Any) -> tuple[dict[str, Any], ...]:
    """Tools as OpenAI describes functions; from a list, or the JSON text of one."""
    if not value:
        return ()
    tools = _parsed(value, "tools are") if isinstance(value, str) else value
    if isinstance(tools, dict):
        tools = [tools]
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise Rejected("tools are no list of functions", f": {shown(repr(value))}")
    return tuple(tool if "function" in tool else {"type": "function", "function": tool} for tool in tools)


def check_answered(messages: Messages) -> None:
    """Raise `Rejected` for a conversation in which nothing can be learned."""
    if not messages:
        raise Rejected("no messages")
    if not any(message["role"] == "assistant" for message in messages):
        raise Rejected("no assistant message")


def _content(value: Any, number: int) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_part(part, number) for part in value)
    raise Rejected(f"message {number} is not text", f" but {shown(repr(value))}")


def _part(part: Any, number: int) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and part.get("type", "text") == "text":
        text = part.get("text", part.get("value"))
        if isinstance(text, str):
            return text
    kind = part.get("type") if isinstance(part, dict) else part
    raise Rejected(f"message {number} holds a part that is not text", f": {shown(repr(kind))}")


def _calls(value: Any) -> Iterable[dict[str, Any]]:
    for call in value if isinstance(value, list) else [value]:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Rejected("a tool call names no function", f": {shown(repr(call))}")
        arguments = function.get("arguments", function.get("parameters", {}))
        if isinstance(arguments, str):
            arguments = _parsed(arguments or "{}", "a tool call's arguments are")
        yield {
            **({"id": call["id"]} if call.get("id") else {}),
            "type": "function",
            "function": {"name": function["name"], "arguments": arguments},
        }


def _parsed(text: Any, what: str) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise Rejected(f"{what} not valid JSON", f": {shown(text)}") from None
