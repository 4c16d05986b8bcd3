from __future__ import annotations

import pytest

from groundup.data.fields import is_known_name, label_field, text_fields


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"text": "a", "content": "b"}, ["text"]),
        ({"Text": "a", "content": "b"}, ["Text"]),
        ({"content": "a", "id": 1}, ["content"]),
        ({"content": "a", "body": "b"}, ["content", "body"]),
        ({"content": 5, "body": "b"}, ["body"]),
        ({"content": None, "id": 1}, ["content"]),
        ({"Label": "ham", "SMS text": "a"}, ["SMS text"]),
        ({"Label": "ham", "a": "a", "b": "b"}, []),
        ({"title": "a", "id": "b"}, []),
        ({"1": "a fine film", "2": "1"}, ["1"]),
        ({"1": "good", "2": "a fine film"}, ["2"]),
        ({"1": "two words", "2": "more words here"}, []),
    ],
)
def test_the_text_is_believed_only_when_one_field_can_hold_it(row: dict, fields: list[str]) -> None:
    assert text_fields(row) == fields


def test_labels() -> None:
    assert label_field({"Label": "x", "text": "y"}) == "Label"
    assert label_field({"label": "x", "class": "y"}) is None
    assert label_field({"1": "a fine film", "2": "1"}) == "2"
    assert label_field({"1": "two words", "2": "more words here"}) is None
    assert is_known_name(" Text ") and not is_known_name("a stirring, funny film")
