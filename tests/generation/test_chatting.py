"""Chats: one answer by the template, what ends it, and what is forgotten when the context is full."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.core.progress import Reporter
from groundup.generation.chatting import Chat
from groundup.generation.text_model import TextModel

from .conftest import decided_model


class Heard(Reporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def talker(tokenizer) -> TextModel:
    model = decided_model("qwen3", vocab_size=tokenizer.vocab_size, context_length=120)
    return TextModel(model, tokenizer, template="chatml")


def question(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_what_is_streamed_is_what_is_returned_and_what_a_batch_gives(talker: TextModel):
    settings: dict[str, Any] = {"max_new_tokens": 20, "seed": 4}
    alone = [talker.chat(question(text), **settings) for text in ("a", "what is this?")]
    assert ["".join(talker.stream_chat(question(text), **settings)) for text in ("a", "what is this?")] == alone
    together = talker.answers([(question("a"), ()), (question("what is this?"), ())], **settings)
    assert [answer.text for answer in together] == alone


def test_what_the_template_ends_a_turn_with_ends_an_answer(tokenizer):
    """All tokens are equally likely, so the greedy choice is id 0: written for ever, unless it is the end of a turn."""
    model = decided_model("qwen3", vocab_size=tokenizer.vocab_size, context_length=120)
    with torch.no_grad():
        model.head_weight.zero_()
    for stop_ids, expected in (((7,), "length"), ((0,), "end")):
        writer = TextModel(model, tokenizer)
        stub = SimpleNamespace(prompt=lambda messages, tools: [5, 6], stop_ids=stop_ids)
        writer.__dict__["renderer"] = stub
        [answer] = writer.answers([(question("hello"), ())], max_new_tokens=5, temperature=0)
        assert answer.finish == expected and bool(answer.text) == (expected == "length")


def test_a_model_without_a_template_says_how_to_get_one(talker: TextModel):
    bare = TextModel(talker.model, talker.tokenizer)
    with pytest.raises(GroundupError, match="groundup finetune instruct"):
        bare.chat(question("hello"))


def test_a_conversation_longer_than_the_context_is_refused(talker: TextModel):
    with pytest.raises(GroundupError, match="the model reads 120"):
        talker.chat(question("x y z " * 200))


def test_an_answer_ends_where_the_context_does(talker: TextModel, monkeypatch: pytest.MonkeyPatch):
    heard, written = Heard(), []
    writer = TextModel(talker.model, talker.tokenizer, template="chatml", reporter=heard)
    write = writer._write
    monkeypatch.setattr(writer, "_write", lambda texts, *rest: (written.extend(texts), write(texts, *rest))[1])
    writer.answers([(question("hello"), ())], max_new_tokens=10_000)
    [text] = written
    assert text.finish == "length" and len(text.prompt) + len(text.tokens) == 120
    assert text.n_slides == 0 and heard.warnings == []


def test_a_chat_remembers(talker: TextModel):
    chat = Chat(talker, system="be brief", max_new_tokens=4, seed=1)
    first = "".join(chat.ask("one"))
    second = "".join(chat.ask("two"))
    assert [m["role"] for m in chat.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert [m["content"] for m in chat.messages[1:]] == ["one", first, "two", second]
    assert second == talker.chat(chat.messages[:-1], max_new_tokens=4, seed=1)
    chat.begin("other")
    assert chat.messages == [{"role": "system", "content": "other"}] and chat.system == "other"
    chat.begin()
    assert chat.messages == [] and chat.system is None


def test_the_oldest_turns_go_whole_and_the_system_message_stays(talker: TextModel):
    heard = Heard()
    chat = Chat(talker, system="be brief", reporter=heard, max_new_tokens=4)
    n = 0
    while not heard.warnings:
        n += 1
        assert n < 30
        list(chat.ask(f"question {n}"))
    assert "oldest turn is forgotten" in heard.warnings[0] and "120 tokens" in heard.warnings[0]
    assert chat.messages[0] == {"role": "system", "content": "be brief"}
    asked = [m["content"] for m in chat.messages if m["role"] == "user"]
    assert asked == [f"question {i}" for i in range(2, n + 1)]
    roles = [m["role"] for m in chat.messages[1:]]
    assert roles == ["user", "assistant"] * len(asked)


def test_a_message_too_long_is_forgotten_not_the_rest(talker: TextModel):
    chat = Chat(talker, max_new_tokens=4)
    list(chat.ask("one"))
    kept = list(chat.messages)
    with pytest.raises(GroundupError, match="say it shorter"):
        list(chat.ask("x y z " * 200))
    assert chat.messages == kept


def test_an_interrupted_answer_is_remembered_as_far_as_it_went(talker: TextModel):
    chat = Chat(talker, max_new_tokens=30)
    answer = chat.ask("one")
    shown = next(answer)
    answer.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator
    assert chat.messages[-1] == {"role": "assistant", "content": shown}
