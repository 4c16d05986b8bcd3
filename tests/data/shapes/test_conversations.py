"""Every spelling of a conversation, to the same messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groundup.data.records import Conversation
from groundup.data.shapes.base import Rejected
from groundup.data.shapes.table import SHAPES, shape_of

USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be kind."}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}],
}
TOOL = {"name": "add", "description": "Adds.", "parameters": {}}


def convert(row: dict, kind: str | None = None) -> tuple[str, list]:
    shape = shape_of(row, kind)
    assert shape is not None, row
    return shape.name, shape.convert(row, Path("a"), 0)


@pytest.mark.parametrize(
    ("name", "row", "messages"),
    [
        ("messages", {"messages": [USER, ANSWER]}, (USER, ANSWER)),
        ("messages", {"conversations": [USER, ANSWER], "system": "Be kind."}, (SYSTEM, USER, ANSWER)),
        (
            "messages",
            {"messages": [{"role": "developer", "content": "Be kind."}, USER, {"role": "model", "content": "Hello"}]},
            (SYSTEM, USER, ANSWER),
        ),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "H"}, "i"]}, ANSWER | {"weight": 0}]},
            (USER, ANSWER | {"weight": 0}),
        ),
        (
            "messages",
            {"messages": [USER, {"role": "assistant", "content": [{"type": "text", "value": "Hello"}], "loss_weight": 1.0}]},
            (USER, ANSWER | {"weight": 1.0}),
        ),
        ("sharegpt", {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}, (USER, ANSWER)),
        (
            "sharegpt",
            {"conversations": [
                {"from": "human", "value": "Hi"},
                {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
                {"from": "observation", "value": "2"},
                {"from": "gpt", "value": "Hello"},
            ]},
            (USER, CALL, {"role": "tool", "content": "2"}, ANSWER),
        ),
        ("alpaca", {"instruction": "Hi", "input": "", "output": "Hello"}, (USER, ANSWER)),
        ("alpaca", {"instruction": "Hi", "output": "Hello"}, (USER, ANSWER)),
        (
            "alpaca",
            {"instruction": "Hi", "input": "there", "output": "Hello", "system": "Be kind.", "history": [["Hi", "Hello"]]},
            (SYSTEM, USER, ANSWER, {"role": "user", "content": "Hi\n\nthere"}, ANSWER),
        ),
        ("self_instruct", {"instruction": "Hi", "instances": [{"input": "", "output": "Hello"}]}, (USER, ANSWER)),
        ("prompt_completion", {"prompt": "Hi", "completion": "Hello"}, (USER, ANSWER)),
        ("prompt_completion", {"prompt": [USER], "completion": [ANSWER]}, (USER, ANSWER)),
        ("prompt_completion", {"question": "Hi", "answer": "Hello", "source": "x"}, (USER, ANSWER)),
        ("prompt_completion", {"query": "Hi", "response": "Hello", "system_prompt": "Be kind."}, (SYSTEM, USER, ANSWER)),
        (
            "prompt_completion",
            {"instruction": "Hi", "context": "there", "response": "Hello"},
            ({"role": "user", "content": "Hi\n\nthere"}, ANSWER),
        ),
        (
            "prompt_completion",
            {"context": "A passage.", "question": "Hi", "answer": "Hello"},
            ({"role": "user", "content": "A passage.\n\nHi"}, ANSWER),
        ),
    ],
)  # fmt: skip
def test_a_spelling_is_recognised_and_made_ours(name: str, row: dict, messages: tuple) -> None:
    found, records = convert(row)
    assert found == name
    assert records == [Conversation(messages, (), Path("a"), 0)]


@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL]), [{"type": "function", "function": TOOL}]])
def test_tools_are_functions_whatever_they_came_as(tools) -> None:
    _, (record,) = convert({"messages": [USER, ANSWER], "tools": tools})
    assert record.tools == ({"type": "function", "function": TOOL},)


@pytest.mark.parametrize(
    "calls",
    [
        [{"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
        [{"id": "1", "name": "add", "arguments": {"a": 1}}],
    ],
)
def test_calls_have_their_arguments_as_objects(calls) -> None:
    answer = {"role": "assistant", "content": None, "tool_calls": calls}
    result = {"role": "tool", "tool_call_id": "1", "name": "add", "content": "2"}
    _, (record,) = convert({"messages": [USER, answer, result]})
    assert record.messages[1]["tool_calls"] == [
        {"id": "1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    ]
    assert record.messages[2] == result


def test_each_instance_of_a_seed_is_a_conversation() -> None:
    row = {"instruction": "Add", "instances": [{"input": "1 1", "output": "2"}, {"input": "2 2", "output": "4"}]}
    assert [record.messages[-1]["content"] for record in convert(row)[1]] == ["2", "4"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "Hi", "output": None}, "no output"),
        ({"instruction": "Hi", "output": " "}, "output is empty"),
        ({"instruction": None, "output": "x"}, "no instruction"),
        ({"instruction": "Hi", "output": "x", "history": ["y"]}, "history is no list of pairs"),
        ({"messages": [USER]}, "no assistant message"),
        ({"messages": []}, "no messages"),
        ({"messages": [USER, {"role": "narrator", "content": "x"}]}, "unknown role 'narrator' in message 2"),
        ({"messages": [USER, {"role": "assistant", "content": ""}]}, "message 2 (assistant) is empty"),
        ({"messages": [USER, {"role": "assistant", "content": 5}]}, "message 2 is not text but 5"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ANSWER]},
            "message 1 holds a part that is not text: 'image_url'",
        ),
        ({"messages": [USER, {"from": "function_call", "value": "{oops"}]}, "a tool call is not valid JSON: {oops"),
        ({"messages": [USER, ANSWER], "tools": "[oops"}, "tools are not valid JSON: [oops"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [{"x": 1}]}]}, "a tool call names no function"),
        ({"instruction": "Hi", "instances": []}, "no instances"),
    ],
)
def test_what_cannot_be_learned_from_is_rejected_with_the_reason(row: dict, reason: str) -> None:
    with pytest.raises(Rejected) as rejected:
        convert(row)
    assert str(rejected.value).startswith(reason)


@pytest.mark.parametrize(
    "row",
    [
        {"question": "2+2?", "choices": ["3", "4"], "answer": 1},
        {"question": {"stem": "x"}, "answerKey": "A"},
        {"prompt": "def f():", "canonical_solution": "pass"},
        {"turns": ["a", "b"]},
        {"id": 5, "title": "x"},
        {"messages": "Hi"},
        {},
    ],
)
def test_what_is_no_shape_is_none(row: dict) -> None:
    assert shape_of(row) is None


def test_names_of_shapes_are_their_own() -> None:
    assert len(SHAPES) == 9
