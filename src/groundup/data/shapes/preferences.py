"""Rows that are preferences: pairs of answers, and single answers that were judged.

Sources: TRL's data formats (prompt, chosen, rejected as texts or messages; without a prompt it is what both sides begin
with; prompt, completion, label), HH-RLHF (both sides one text of `Human:` and `Assistant:` turns, Bai et al. 2022),
LLaMA-Factory (conversations with chosen and rejected; kto_tag).
"""

from __future__ import annotations

import re
from typing import Any

from groundup.data.formats.rows import Row
from groundup.data.records import Messages, Preference, Record
from groundup.data.remote import Place
from groundup.data.shapes.base import Rejected, Shape, is_text, text_of
from groundup.data.shapes.conversations import (
    completion_messages,
    instruction_messages,
    message_field,
    pair_of,
    prompt_messages,
)
from groundup.data.shapes.messages import are_messages, is_message, to_message, to_messages, to_tools

SIDES = (("chosen", "rejected"), ("response_chosen", "response_rejected"), ("chosen_response", "rejected_response"))
PROMPTS = ("prompt", "question", "query", "input")
JUDGEMENTS = ("label", "kto_tag")

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \t]?")


def _sides(row: Row) -> tuple[str, str] | None:
    return next((pair for pair in SIDES if all(name in row and _is_answer(row[name]) for name in pair)), None)


def _is_answer(value: Any) -> bool:
    return is_text(value) or is_message(value) or (are_messages(value) and bool(value))


def _pair(row: Row, source: Place, index: int) -> list[Record]:
    names = _sides(row)
    if names is None:
        raise Rejected("no chosen with a rejected answer")
    chosen, rejected = (_answer(row, name) for name in names)
    prompt = _prompt(row)
    n_shared = 0
    while n_shared < min(len(chosen), len(rejected)) and chosen[n_shared] == rejected[n_shared]:
        n_shared += 1
    if n_shared == len(chosen) == len(rejected):
        raise Rejected("chosen and rejected are the same")
    if n_shared and prompt and chosen[:n_shared][-len(prompt) :] != prompt:
        prompt = (*prompt, *chosen[:n_shared])
    elif n_shared:  # the sides repeat the prompt, or are all there is of it
        prompt = chosen[:n_shared]
    chosen, rejected = chosen[n_shared:], rejected[n_shared:]
    if not prompt:
        raise Rejected("no prompt")
    if not chosen or not rejected:
        raise Rejected("one of chosen and rejected is only the beginning of the other")
    return [Preference(prompt, chosen, rejected, to_tools(row.get("tools")), source, index)]


def _answer(row: Row, name: str) -> Messages:
    value = row[name]
    if isinstance(value, list):
        return to_messages(value)
    if isinstance(value, dict):
        return (to_message(value),)
    text = text_of(row, name)
    turns = _TURN.split(text)
    if turns[0] == "" and len(turns) > 2:  # HH-RLHF
        roles = {"Human": "user", "Assistant": "assistant"}
        pairs = zip(turns[1::2], turns[2::2], strict=True)
        return tuple({"role": roles[who], "content": said.strip()} for who, said in pairs)
    return ({"role": "assistant", "content": text},)


def _prompt(row: Row) -> Messages:
    if (name := message_field(row)) is not None:
        return to_messages(row[name])
    if "instruction" in row:
        return instruction_messages(row)
    name = next((name for name in PROMPTS if row.get(name)), None)
    return () if name is None else prompt_messages(row, name)


def _judgement(row: Row) -> str | None:
    return next((name for name in JUDGEMENTS if isinstance(row.get(name), bool)), None)


def _is_judged(row: Row) -> bool:
    if _judgement(row) is None:
        return False
    return message_field(row) is not None or pair_of(row) is not None or {"instruction", "output"} <= set(row)


def _judged(row: Row, source: Place, index: int) -> list[Record]:
    judgement = _judgement(row)
    if judgement is None:
        raise Rejected("no label that is true or false")
    if (name := message_field(row)) is not None:
        messages = to_messages(row[name])
        n_before = next((i for i in range(len(messages), 0, -1) if messages[i - 1]["role"] != "assistant"), 0)
        prompt, answer = messages[:n_before], messages[n_before:]
    elif {"instruction", "output"} <= set(row):
        prompt, answer = instruction_messages(row), completion_messages(row, "output")
    elif (pair := pair_of(row)) is not None:
        prompt, answer = prompt_messages(row, pair[0]), completion_messages(row, pair[1])
    else:
        raise Rejected("no prompt with a completion")
    if not prompt or not answer:
        raise Rejected("no answer after a prompt")
    sides = (answer, None) if row[judgement] else (None, answer)
    return [Preference(prompt, *sides, to_tools(row.get("tools")), source, index)]


PREFERENCES = (
    Shape("preference", "preference", lambda row: _sides(row) is not None, _pair),
    Shape("kto", "preference", _is_judged, _judged),
)
