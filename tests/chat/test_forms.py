"""The forms of a tool call, plainest first."""

from __future__ import annotations

from groundup.chat.forms import forms_of

CALL = {"type": "function", "function": {"name": "f", "arguments": {"a": "é"}}}
TALK = [
    {"role": "user", "content": "x", "weight": 0, "name": None},
    {"role": "assistant", "content": "", "tool_calls": [CALL, CALL | {"id": "mine"}]},
    {"role": "tool", "content": "1"},
    {"role": "tool", "content": "2", "tool_call_id": "theirs"},
    {"role": "assistant", "content": "y"},
]


def test_without_calls_there_is_one_form() -> None:
    assert list(forms_of(TALK[:1])) == [[{"role": "user", "content": "x"}]]


def test_then_identifiers_then_the_form_that_is_sent() -> None:
    plain, numbered, sent = forms_of(TALK)
    assert plain[1:] == TALK[1:]
    assert [call["id"] for call in numbered[1]["tool_calls"]] == ["call00001", "mine"]
    assert [message.get("tool_call_id") for message in numbered] == [None, None, "call00001", "theirs", None]
    assert sent[1]["content"] is None and sent[4]["content"] == "y"
    assert [call["function"]["arguments"] for call in sent[1]["tool_calls"]] == ['{"a": "é"}'] * 2
    assert TALK[1]["tool_calls"][0]["function"]["arguments"] == {"a": "é"}


def test_thinking_has_both_names_that_templates_read() -> None:
    (message,) = next(forms_of([{"role": "assistant", "content": "x", "reasoning_content": "why"}]))
    assert message["thinking"] == message["reasoning_content"] == "why"
