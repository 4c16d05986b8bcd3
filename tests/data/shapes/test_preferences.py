"""Every spelling of a preference, to the same prompt and sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundup.data.records import Preference
from groundup.data.shapes.base import Rejected
from groundup.data.shapes.table import shape_of

USER = {"role": "user", "content": "Hi"}
GOOD, BAD = {"role": "assistant", "content": "Hello"}, {"role": "assistant", "content": "Go"}
SYSTEM = {"role": "system", "content": "Be kind."}


def convert(row: dict) -> tuple[str, Preference]:
    shape = shape_of(row)
    assert shape is not None, row
    (record,) = shape.convert(row, Path("a"), 0)
    assert isinstance(record, Preference)
    return shape.name, record


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}, (USER,)),
        ({"prompt": [SYSTEM, USER], "chosen": [GOOD], "rejected": [BAD]}, (SYSTEM, USER)),
        ({"prompt": "Hi", "chosen": [USER, GOOD], "rejected": [USER, BAD]}, (USER,)),  # UltraFeedback
        ({"chosen": [SYSTEM, USER, GOOD], "rejected": [SYSTEM, USER, BAD]}, (SYSTEM, USER)),
        ({"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: Go"}, (USER,)),  # HH
        ({"system": "Be kind.", "question": "Hi", "chosen": "Hello", "rejected": "Go"}, (SYSTEM, USER)),  # Orca pairs
        ({"instruction": "Hi", "input": "", "output": "Hello", "chosen": "Hello", "rejected": "Go"}, (USER,)),
        (
            {
                "conversations": [{"from": "human", "value": "Hi"}],
                "chosen": {"from": "gpt", "value": "Hello"},
                "rejected": {"from": "gpt", "value": "Go"},
            },
            (USER,),
        ),
        ({"prompt": "Hi", "response_chosen": "Hello", "response_rejected": "Go"}, (USER,)),
    ],
)
def test_pairs(row: dict, prompt: tuple) -> None:
    name, record = convert(row)
    assert name == "preference"
    assert (record.prompt, record.chosen, record.rejected) == (prompt, (GOOD,), (BAD,))


def test_turns_that_are_shared_belong_to_the_prompt() -> None:
    beginning = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: And?\n\nAssistant: "
    _, record = convert({"chosen": beginning + "Good.\nMore.", "rejected": beginning + "Bad."})
    assert record.prompt == (USER, GOOD, {"role": "user", "content": "And?"})
    assert record.chosen == ({"role": "assistant", "content": "Good.\nMore."},)


@pytest.mark.parametrize("liked", [True, False])
@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "completion": "Hello", "label": None},
        {"prompt": [USER], "completion": [GOOD], "label": None},
        {"messages": [USER, GOOD], "label": None},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}], "kto_tag": None},
        {"instruction": "Hi", "input": "", "output": "Hello", "kto_tag": None},
    ],
)
def test_judged_answers_have_one_side(row: dict, liked: bool) -> None:
    name, record = convert({key: liked if value is None else value for key, value in row.items()})
    assert name == "kto"
    assert record.prompt == (USER,)
    assert (record.chosen, record.rejected) == (((GOOD,), None) if liked else (None, (GOOD,)))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Hi", "chosen": "Hello", "rejected": "Hello"}, "chosen and rejected are the same"),
        ({"prompt": "Hi", "chosen": "Hello", "rejected": None}, "no rejected"),
        ({"chosen": "Hello", "rejected": "Go"}, "no prompt"),
        (
            {"prompt": "Hi", "chosen": [USER, GOOD], "rejected": [USER]},
            "one of chosen and rejected is only the beginning",
        ),
        ({"messages": [USER], "label": True}, "no answer after a prompt"),
        ({"prompt": "Hi", "completion": "", "label": False}, "completion is empty"),
    ],
)
def test_what_prefers_nothing_is_rejected_with_the_reason(row: dict, reason: str) -> None:
    with pytest.raises(Rejected) as rejected:
        convert(row)
    assert str(rejected.value).startswith(reason)
