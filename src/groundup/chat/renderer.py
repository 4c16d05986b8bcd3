"""Messages to ids, and which of them are learned: the one renderer of training, evaluation and serving.

The one idea: a template writes text, but what goes to the model are ids in which structure and people's text cannot be mixed up.
People's text is disguised before it is rendered (disguise.py); the names of special tokens that are then in the text are the
template's, and become ids (structure.py); answers are found by rendering (answers.py) and end with the token that ends a turn. For
ordinary text the ids are those of `transformers`' `apply_chat_template`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from groundup.chat.answers import AnsweredText, Answers, common_length, unmarked
from groundup.chat.disguise import Disguise
from groundup.chat.errors import AnswerNotFound, CannotRender, TemplateError
from groundup.chat.forms import forms_of, function_names
from groundup.chat.structure import StructureEncoder
from groundup.chat.templates import BUILTIN, TODAY, ChatTemplate
from groundup.core.errors import GroundupError
from groundup.tokenization.tokenizer import Tokenizer

ROLES = ("system", "user", "assistant", "tool")
_LOOKS_LIKE_TOKEN = re.compile(r"<\|[^\s|<>]{1,40}\|>")
# A short talk by which a template is known: what it writes after an answer, and what before one.
_PROBE: list[dict[str, Any]] = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b", "weight": 0},
    {"role": "user", "content": "c"},
    {"role": "assistant", "content": "d"},
]
_PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string", "description": "The word."}}},
    },
}

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """Tokens `start` to `end` of a rendering, which are learned of message number `message` (from 0)."""

    message: int
    start: int
    end: int


@dataclass(frozen=True)
class Rendered:
    """A conversation as ids; `trained` says of each whether it is learned. `answers` are where, in order."""

    ids: list[int]
    trained: list[bool]
    answers: tuple[Answer, ...]


class Renderer:
    """Renders for one tokenizer by one template; `now` is the date a template is told when it asks for one."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate, *, now: datetime = TODAY) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.now = now
        self._structure = StructureEncoder(tokenizer)
        self._disguise = Disguise(self._structure.ids, self._structure.symbols, template.source)
        self._tokens = {name: text for name, text in _roles(tokenizer.config)}

    # ---- whole conversations

    def render(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> Rendered:
        """The conversation, its answers learned with their end of turn; those of `weight` 0 are not.

        Raises `GroundupError` when it cannot be rendered, or learned from as one text because the template changes what came
        before (`renderings` then gives several).
        """
        found = self.renderings(messages, tools)
        if len(found) != 1:
            raise GroundupError(
                f"the chat template {self.template.name} changes earlier messages as a conversation goes on, so its "
                f"{len(found)} parts are learned one by one"
            )
        return found[0]

    def renderings(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[Rendered]:
        """The conversation as one text or, where the template changes what came before, several: each answer in one of them,
        exactly as it will be asked for. Without a message to learn, the whole, nothing of it trained.
        """
        wanted = [n for n, message in enumerate(messages) if message["role"] == "assistant" and _weight(message, n)]
        shown, given = self._shown(messages, tools)
        answers = self._answers(shown, given)
        if not wanted:
            text = unmarked(self._text(shown, given, False))
            return [self._encoded(AnsweredText(text, (), answers.cuts(text, len(shown))))]
        return [self._encoded(text) for text in answers.texts(wanted, self.end_of_turn)]

    def prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """The ids a model is given to answer `messages`: with them begins what `render` gives for messages and answer."""
        shown, given = self._shown(messages, tools)
        text = unmarked(self._text(shown, given, True))
        cuts = self._answers(shown, given).cuts(text, len(shown))
        return self._structure.encode(text, cuts, self._disguise.off)[0]

    def ids(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        add_generation_prompt: bool = False,
    ) -> list[int]:
        """The ids alone, as `transformers`' `apply_chat_template` gives them, whether or not the template can be learned by.

        `render` and `prompt` differ from them only where a token would lie across the end of a prompt (an answer that begins
        with a line break after a template's own).
        """
        shown, given = self._shown(messages, tools)
        return self._structure.encode(
            unmarked(self._text(shown, given, add_generation_prompt)), (), self._disguise.off
        )[0]

    # ---- what the template is

    @cached_property
    def end_of_turn(self) -> str:
        """The special token that stands after every answer. Raises `GroundupError` when there is none."""
        alone, followed = self._after_answer(2), self._after_answer(4)
        same = alone[: common_length(alone, followed, self._structure.pattern)]
        found = [match[0] for match in self._structure.pattern.finditer(same)]
        if not found:
            missing = (
                f" ({', '.join(names)} is no token of this tokenizer)" if (names := self._unknown_names(same)) else ""
            )
            raise GroundupError(
                f"the chat template {self.template.name} writes no special token after an answer, but {same!r}{missing}; a model "
                f"trained by it would never stop. {_WAY_OUT}"
            )
        return found[-1]

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The ids that end an answer: the end of turn, then the end of text."""
        ids = (self._structure.ids[self.end_of_turn], self.tokenizer.eos_id)
        return tuple(dict.fromkeys(id for id in ids if id is not None))

    @property
    def structure_ids(self) -> frozenset[int]:
        """The ids that only a template writes; people's text never has them."""
        return frozenset(self._structure.ids.values())

    def check(self) -> None:
        """Raise `GroundupError` when the template cannot be trained with by this tokenizer: tokens that are missing, no token that
        ends a turn, or prompts that are not how answered conversations begin."""
        tools = self._probe_tools
        text = unmarked(self._text(_PROBE[:3], tools, True))
        if names := self._unknown_names(text + self._with_system(tools)):
            raise GroundupError(
                f"the chat template {self.template.name} writes {', '.join(names)}, which this tokenizer does not have as "
                f"{'a token' if len(names) == 1 else 'tokens'}. {_WAY_OUT}"
            )
        stop = self._structure.ids[self.end_of_turn]
        header = text[common_length(unmarked(self._text(_PROBE[:3], tools, False)), text, self._structure.pattern) :]
        found = failure = None
        for begin in ("", *(header[n:] for n in range(len(header)))):
            # An answer that begins as the prompt ends ("<think>\n") is what some templates ask for.
            try:
                found = self.renderings([*_PROBE[:3], {"role": "assistant", "content": f"{begin}d"}], tools)[-1]
                break
            except AnswerNotFound as error:
                failure = failure or error
        if found is None:
            raise GroundupError(f"the chat template {self.template.name} cannot be trained with: {failure}. {_WAY_OUT}")
        prompt, end = self.prompt(_PROBE[:3], tools), found.answers[-1].end
        assert found.ids[: len(prompt)] == prompt, "a prompt is not how its answered conversation begins"
        assert found.trained[end - 1] and found.ids[end - 1] == stop, "the end of turn is not learned"

    def _unknown_names(self, text: str) -> list[str]:
        plain = self._structure.pattern.sub(" ", text)
        return list(dict.fromkeys(_LOOKS_LIKE_TOKEN.findall(plain)))

    def _after_answer(self, n: int) -> str:
        """What stands after the second message of the probe, of which the first `n` are rendered."""
        messages = [dict(message) for message in _PROBE[:n]]
        messages[1]["content"] = content = "\u2042answer\u2042"
        _, found, after = unmarked(self._text(messages, self._probe_tools, False)).rpartition(content)
        if not found:
            raise GroundupError(
                f"the chat template {self.template.name} does not write what an assistant said. {_WAY_OUT}"
            )
        return after

    def _with_system(self, tools: list[dict[str, Any]]) -> str:
        """The probe with a system message; nothing where the template takes none."""
        try:
            return unmarked(self._text([{"role": "system", "content": "e"}, *_PROBE], tools, False))
        except TemplateError:
            return ""

    @cached_property
    def _probe_tools(self) -> list[dict[str, Any]]:
        """Tools for the probe: none, unless the template cannot do without."""
        try:
            self._text(_PROBE[:1], (), True)
        except TemplateError:
            return [_PROBE_TOOL]
        return []

    # ---- between the two

    def _shown(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[Any]]:
        """Messages and tools as the template gets them: disguised, in the first form of tool calls that it takes."""
        if not messages:
            raise CannotRender("a conversation without messages cannot be rendered")
        for number, message in enumerate(messages, 1):
            if message.get("role") not in ROLES:  # a role is not disguised, since templates compare it
                raise CannotRender(
                    f"a role is none of {', '.join(ROLES)}", f": message {number} has {message.get('role')!r}"
                )
        given = [self._disguise.value(tool) for tool in tools]
        failure = None
        for form in forms_of(messages):
            shown = [self._disguise.message(message) for message in form]
            try:
                text = self._text(shown, given, False)
            except TemplateError as error:
                failure = failure or error
                continue
            spellings = [(name, json.dumps(name, ensure_ascii=False)[1:-1]) for name in function_names(shown, given)]
            lost = next((name for name, spelled in spellings if name not in text and spelled not in text), None)
            if lost is None:
                return shown, given
            failure = failure or TemplateError(
                f"the chat template {self.template.name} has no place for tools",
                f": it writes nothing of the function {self._disguise.off(lost)}",
            )
        assert failure is not None
        if not tools and self._probe_tools:
            raise TemplateError(f"the chat template {self.template.name} was written for conversations with tools only")
        raise failure

    def _answers(self, shown: list[dict[str, Any]], given: list[Any]) -> Answers:
        def text(n: int, prompt: bool) -> str:
            return self._text(shown[:n], given, prompt)

        return Answers(shown, text, self._structure.pattern)

    def _text(self, messages: Sequence[Message], tools: Sequence[Any], prompt: bool) -> str:
        try:
            return self.template.render(
                messages, tools, tokens=self._tokens, add_generation_prompt=prompt, now=self.now
            )
        except TemplateError as error:
            raise TemplateError(self._disguise.off(error.what), self._disguise.off(error.detail)) from error

    def _encoded(self, text: AnsweredText) -> Rendered:
        places = sorted({*text.cuts, *(place for span in text.spans for place in (span.start, span.end))})
        ids, before = self._structure.encode(text.text, places, self._disguise.off)
        n_before = dict(zip(places, before, strict=True))
        answers = tuple(Answer(span.message, n_before[span.start], n_before[span.end]) for span in text.spans)
        trained = [False] * len(ids)
        for answer in answers:
            trained[answer.start : answer.end] = [True] * (answer.end - answer.start)
        return Rendered(ids, trained, answers)


_WAY_OUT = (
    "Take another template: alpaca needs no token but end of text; "
    f"{', '.join(name for name in BUILTIN if name != 'alpaca')} need their own; or a .jinja file of yours"
)


def _roles(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(role, name) of the special tokens a template may ask for, as `bos_token`."""
    found = []
    for key, value in config.items():
        name = value.get("content") if isinstance(value, Mapping) else value
        if key.endswith("_token") and isinstance(name, str):
            found.append((key, name))
    return found


def _weight(message: Message, number: int) -> bool:
    weight = message.get("weight", 1)
    if weight not in (0, 1):
        raise CannotRender("a weight is neither 0 (not learned) nor 1", f": message {number + 1} has {weight!r}")
    return bool(weight)
