"""Rows that are conversations: messages, ShareGPT, alpaca, Self-Instruct seeds, and a prompt with its completion.

Sources: Stanford Alpaca (instruction, input, output; a `system` and a `history` of pairs as LLaMA-Factory adds them),
Self-Instruct (Wang et al. 2022: instruction with instances), Dolly (instruction, context, response), TRL (prompt,
completion).
"""

from __future__ import annotations

from typing import Any

from groundup.data.formats.rows import Row
from groundup.data.records import Conversation, Message, Messages, Record
from groundup.data.remote import Place
from groundup.data.shapes.base import Rejected, Shape, is_text, text_of
from groundup.data.shapes.messages import are_messages, check_answered, to_messages, to_tools

MESSAGE_FIELDS = ("messages", "conversations", "conversation")
PAIRS = (
    *(("prompt", "completion"), ("prompt", "response"), ("question", "answer"), ("question", "response")),
    *(("query", "response"), ("query", "answer"), ("instruction", "response"), ("input", "output")),
    *(("problem", "solution"),),
)


def message_field(row: Row) -> str | None:
    """The field that holds messages, if there is one."""
    return next((name for name in MESSAGE_FIELDS if are_messages(row.get(name))), None)


def instruction_messages(row: Row) -> Messages:
    """The system, history and user messages of an alpaca row: the input stands below the instruction, a blank line between."""
    before: list[Message] = []
    if system := text_of(row, "system", may_be_empty=True):
        before.append({"role": "system", "content": system})
    for pair in row.get("history") or []:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Rejected("history is no list of pairs")
        before += [{"role": "user", "content": str(pair[0])}, {"role": "assistant", "content": str(pair[1])}]
    return (*before, {"role": "user", "content": _below(text_of(row, "instruction"), row, "input")})


def _below(text: str, row: Row, name: str) -> str:
    more = text_of(row, name, may_be_empty=True)
    return f"{text}\n\n{more}" if more.strip() else text


def _is_openai(row: Row) -> bool:
    name = message_field(row)
    return name is not None and bool(row[name]) and "role" in row[name][0]


def _is_sharegpt(row: Row) -> bool:
    return message_field(row) is not None


def _messages(row: Row, source: Place, index: int) -> list[Record]:
    name = message_field(row)
    if name is None:
        raise Rejected("no list of messages")
    messages = to_messages(row[name])
    if isinstance(row.get("system"), str) and row["system"] and messages and messages[0]["role"] != "system":
        messages = ({"role": "system", "content": row["system"]}, *messages)
    check_answered(messages)
    return [Conversation(messages, to_tools(row.get("tools")), source, index)]


def _is_alpaca(row: Row) -> bool:
    return "instruction" in row and "output" in row and is_text(row["instruction"]) and is_text(row["output"])


def _alpaca(row: Row, source: Place, index: int) -> list[Record]:
    answer: Message = {"role": "assistant", "content": text_of(row, "output")}
    return [Conversation((*instruction_messages(row), answer), (), source, index)]


def _is_seed(row: Row) -> bool:
    return is_text(row.get("instruction")) and isinstance(row.get("instances"), list)


def _seed(row: Row, source: Place, index: int) -> list[Record]:
    if not row["instances"] or not all(isinstance(instance, dict) for instance in row["instances"]):
        raise Rejected("no instances")
    found: list[Record] = []
    for instance in row["instances"]:
        found += _alpaca({"instruction": row.get("instruction"), **instance}, source, index)
    return found


def pair_of(row: Row) -> tuple[str, str] | None:
    """The names of the prompt's and the completion's field, in the first spelling that is there."""
    return next((pair for pair in PAIRS if all(name in row and _is_side(row[name]) for name in pair)), None)


def _is_side(value: Any) -> bool:
    return is_text(value) or (are_messages(value) and bool(value))


def prompt_messages(row: Row, name: str) -> Messages:
    """The messages of a prompt that is a text (with the `system` and the `context` beside it) or a list of messages.

    A context stands below an instruction, as Dolly's, and above a question, as in reading comprehension.
    """
    if isinstance(row.get(name), list):
        return to_messages(row[name])
    system = next((row[key] for key in ("system", "system_prompt") if isinstance(row.get(key), str) and row[key]), None)
    text = text_of(row, name)
    if name == "instruction":
        text = _below(text, row, "context")
    elif isinstance(row.get("context"), str) and row["context"].strip():
        text = f"{row['context']}\n\n{text}"
    user: Message = {"role": "user", "content": text}
    return ({"role": "system", "content": system}, user) if system else (user,)


def completion_messages(row: Row, name: str) -> Messages:
    """The messages of a completion, a text or a list of messages."""
    if isinstance(row.get(name), list):
        return to_messages(row[name])
    return ({"role": "assistant", "content": text_of(row, name)},)


def _prompt_completion(row: Row, source: Place, index: int) -> list[Record]:
    pair = pair_of(row)
    if pair is None:
        raise Rejected("no prompt with a completion")
    messages = (*prompt_messages(row, pair[0]), *completion_messages(row, pair[1]))
    check_answered(messages)
    return [Conversation(messages, to_tools(row.get("tools")), source, index)]


CONVERSATIONS = (
    Shape("messages", "conversation", _is_openai, _messages),
    Shape("sharegpt", "conversation", _is_sharegpt, _messages),
    Shape("alpaca", "conversation", _is_alpaca, _alpaca),
    Shape("self_instruct", "conversation", _is_seed, _seed),
    Shape("prompt_completion", "conversation", lambda row: pair_of(row) is not None, _prompt_completion),
)
