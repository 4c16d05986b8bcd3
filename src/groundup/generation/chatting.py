"""A chat that goes on: what was said is remembered, as far as the context allows.

One idea: the messages are all the state there is, and every answer is asked for with all of them. When they outgrow the context the
oldest turns go, whole (a question with its answers), never a part of one; the system message stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from groundup.core.errors import GroundupError
from groundup.core.progress import QUIET, Reporter
from groundup.generation.settings import SamplingSettings
from groundup.generation.text_model import TextModel, Tools

LEAST_ROOM = 0.25  # of the context, that an answer finds free, unless it may not be that long


class Chat:
    """A conversation with `model`: `ask` again and again. `settings` are the fields of `SamplingSettings`, by name."""

    def __init__(
        self,
        model: TextModel,
        *,
        system: str | None = None,
        tools: Tools = (),
        reporter: Reporter = QUIET,
        **settings: Any,
    ) -> None:
        model.renderer.check()
        self.model = model
        self.tools = tools
        self._settings = SamplingSettings.build(settings, source="chat").model_dump()
        self._reporter = reporter
        self.messages: list[dict[str, Any]] = []
        self.begin(system)

    def begin(self, system: str | None = None) -> None:
        """Forget everything and begin anew, under `system` when it is given."""
        self.messages = [{"role": "system", "content": system}] if system else []

    @property
    def system(self) -> str | None:
        """The system message, if there is one."""
        first = self.messages[0] if self.messages else {"role": None}
        return first["content"] if first["role"] == "system" else None

    def ask(self, text: str) -> Iterator[str]:
        """The answer to a message, piece by piece.

        Closed or interrupted before its end, what was said so far is remembered as the answer. Raises `GroundupError`, and
        forgets the message, when it is too long for the context.
        """
        before = self.messages
        self.messages = self._fitting([*before, {"role": "user", "content": text}])
        pieces: list[str] = []
        try:
            for piece in self.model.stream_chat(self.messages, tools=self.tools, **self._settings):
                pieces.append(piece)
                yield piece
        except GroundupError:
            self.messages = before
            raise
        finally:
            if self.messages is not before:
                self.messages = [*self.messages, {"role": "assistant", "content": "".join(pieces)}]

    def _fitting(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages without so many of the oldest turns that the rest leaves room for an answer."""
        length = self.model.model.config.max_length
        if length is None:
            return messages
        room = min(self._settings["max_new_tokens"], int(LEAST_ROOM * length))
        n_dropped = 0
        while (n_tokens := len(self.model.renderer.prompt(messages, self.tools))) > length - room:
            questions = [place for place, message in enumerate(messages) if message["role"] == "user"]
            if len(questions) == 1:
                raise GroundupError(
                    f"with this message the conversation has {n_tokens:,} tokens; the model reads {length:,}, and {room:,} of them "
                    "are kept for the answer: say it shorter"
                )
            messages = messages[: questions[0]] + messages[questions[1] :]
            n_dropped += 1
        if n_dropped:
            turns = "turn is" if n_dropped == 1 else f"{n_dropped} turns are"
            self._reporter.warn(f"the context of {length:,} tokens is full: the oldest {turns} forgotten")
        return messages
