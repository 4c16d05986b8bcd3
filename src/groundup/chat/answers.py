"""Where the assistant's answers lie in a rendered conversation, found by rendering it again without them.

The one idea: an answer is what the template writes after the prompt as a server would give it (the messages before, with the
generation prompt), up to the token that ends a turn. Where that prompt is not how the whole conversation begins, the template
changes what came before (drops thinking, moves the system message), and the whole is not what a server sees; then that answer
gets a text of its own, its prompt and what the template writes after it. So every answer is learned exactly as it will be asked.

The end of a turn is the special token that a template writes after an answer, whether or not something follows. (That prompts are
beginnings and the stop token is trained are the two checks TRL makes of a template.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from groundup.chat.errors import AnswerNotFound
from groundup.chat.sandbox import GENERATION_BEGIN, GENERATION_END

Render = Callable[[int, bool], str]
"""(number of messages, whether to add the generation prompt) -> text, generation marks and all."""

_MARKS = re.compile(f"[{GENERATION_BEGIN}{GENERATION_END}]")


@dataclass(frozen=True)
class TextSpan:
    """Characters `start` to `end` of a text, which message number `message` (from 0) is learned by."""

    message: int
    start: int
    end: int


@dataclass(frozen=True)
class AnsweredText:
    """A text and the answers in it, in order; `cuts` are the places where prompts end."""

    text: str
    spans: tuple[TextSpan, ...]
    cuts: tuple[int, ...]


def unmarked(text: str) -> str:
    """A rendering without the marks of generation blocks."""
    return _MARKS.sub("", text)


def common_length(one: str, other: str, token: re.Pattern[str]) -> int:
    """How many characters two texts have in common at the beginning, no `token` of either cut in two."""
    n, unequal = 0, min(len(one), len(other)) + 1  # equal up to n, not up to `unequal`
    while unequal - n > 1:
        middle = (n + unequal) // 2
        if one[n:middle] == other[n:middle]:
            n = middle
        else:
            unequal = middle
    for text in (one, other):
        for found in token.finditer(text, max(0, n - 100), n + 100):
            if found.start() < n < found.end():
                n = found.start()
    return n


class Answers:
    """Finds answers; `token` matches the structure tokens."""

    def __init__(self, messages: Sequence[Mapping[str, Any]], render: Render, token: re.Pattern[str]) -> None:
        self._messages = messages
        self._kept: dict[tuple[int, bool], str] = {}
        self._render = render
        self._token = token
        self._end = ""

    def texts(self, wanted: Sequence[int], end: str) -> list[AnsweredText]:
        """Texts that hold each wanted message (numbers, rising) once: one, unless the template changes what came before.

        `end` is the name of the token that ends a turn. Raises `AnswerNotFound` when the template writes an answer in a way it
        cannot be learned by.
        """
        self._end = end
        left, found = list(wanted), []
        n_read = len(self._messages)
        while left:
            covered = self._covered(n_read, left)
            if left[-1] in covered:
                found.append(self._answered(n_read, covered))
            elif n_read > left[-1] + 1:
                n_read = left[-1] + 1
                continue
            else:
                found.append(self._alone(left[-1]))
                covered = {left[-1]: 0}
            left = [number for number in left if number not in covered]
            n_read = left[-1] + 1 if left else 0
        return found[::-1]

    def cuts(self, text: str, n: int) -> tuple[int, ...]:
        """Where prompts of the assistant's messages among the first `n` end in `text`, which begins with them.

        No token crosses these places: what a model was given, and what it answered, stay apart in all that follows.
        """
        numbers = [number for number, message in enumerate(self._messages[:n]) if message["role"] == "assistant"]
        prompts = [unmarked(self._text(number, True)) for number in numbers]
        return tuple(len(prompt) for prompt in prompts if text.startswith(prompt))

    def _text(self, n: int, prompt: bool = False) -> str:
        if (n, prompt) not in self._kept:
            self._kept[n, prompt] = self._render(n, prompt)
        return self._kept[n, prompt]

    def _covered(self, n_read: int, numbers: Sequence[int]) -> dict[int, int]:
        """The answers that the first `n_read` messages show exactly as they are asked, and where each ends."""
        whole = unmarked(self._text(n_read))
        ends = {}
        for number in numbers:
            prompt = unmarked(self._text(number, True))
            if not whole.startswith(prompt):
                continue
            upto = len(whole)
            if number + 1 < n_read:
                upto = common_length(unmarked(self._text(number + 1)), whole, self._token)
            place = whole.rfind(self._end, len(prompt), upto)
            if place >= 0:
                ends[number] = place + len(self._end)
        return ends

    def _answered(self, n_read: int, ends: Mapping[int, int]) -> AnsweredText:
        marked = self._text(n_read)
        whole, blocks = _blocks(marked)
        spans = [TextSpan(number, len(unmarked(self._text(number, True))), end) for number, end in sorted(ends.items())]
        if blocks:
            spans = [part for span in spans for part in self._by_blocks(span, whole, blocks)]
        return AnsweredText(whole, tuple(spans), self.cuts(whole, n_read))

    def _by_blocks(self, span: TextSpan, whole: str, blocks: Sequence[tuple[int, int]]) -> list[TextSpan]:
        """The parts of an answer that the template says are the assistant's; the end of turn right after one belongs to it."""
        parts = []
        for start, end in blocks:
            if start < span.end and end > span.start:
                if whole.startswith(self._end, end):
                    end += len(self._end)
                parts.append(TextSpan(span.message, max(start, span.start), min(end, span.end)))
        return parts

    def _alone(self, number: int) -> AnsweredText:
        """The prompt as a server gives it, and the answer after it."""
        prompt, whole = unmarked(self._text(number, True)), unmarked(self._text(number + 1))
        answer = self._after_prompt(number, prompt, whole)
        text = prompt + answer
        return AnsweredText(text, (TextSpan(number, len(prompt), len(text)),), self.cuts(text, number + 1))

    def _after_prompt(self, number: int, prompt: str, whole: str) -> str:
        before = unmarked(self._text(number))
        header = prompt[common_length(before, prompt, self._token) :]
        last = max((found.start() for found in self._token.finditer(prompt)), default=len(prompt))
        for anchor in (header, prompt[last:]):
            if anchor and (place := whole.rfind(anchor)) >= 0:
                begin = place + len(anchor)
                end = whole.rfind(self._end, begin)
                if end < 0:
                    raise AnswerNotFound(
                        f"the chat template does not end an answer with {self._end}", f": message {number + 1}"
                    )
                return whole[begin : end + len(self._end)]
        content = self._messages[number].get("content") or ""
        for cut in range(len(header)):
            # The prompt may begin the answer itself, as "<think>\n" does, and the template drop that from what was said.
            if content.startswith(header[cut:]) and header[:cut] in whole:
                return content[len(header) - cut :] + self._end
        raise AnswerNotFound(
            f"an answer does not begin with {prompt[last:]!r}, as the chat template's prompts end, nor is it written behind that",
            f": message {number + 1}",
        )


def _blocks(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """A rendering without marks, and where the outermost generation blocks lie in it."""
    parts, blocks = [], []
    place = depth = begin = length = 0
    for found in _MARKS.finditer(marked):
        parts.append(marked[place : found.start()])
        length += found.start() - place
        place = found.end()
        if found[0] == GENERATION_BEGIN:
            begin = length if depth == 0 else begin
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                blocks.append((begin, length))
    return "".join([*parts, marked[place:]]), blocks
