"""Chat templates: which one is meant, and what it writes for a conversation.

A template is Jinja source, as published models carry it. Ours, for models without one, are the published formats in words of our
own: ChatML (OpenAI 2023, `<|im_start|>role`), with tools as Nous Hermes writes them; Alpaca (Taori et al. 2023, Stanford); Llama 3
(Meta's model card, "Prompt format"); Phi (Microsoft's model card of Phi-3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateSyntaxError, UndefinedError

from groundup.chat.errors import TemplateError
from groundup.chat.sandbox import TemplateRefusal, compiled, run
from groundup.core.errors import GroundupError, unknown_name
from groundup.tokenization.beginning import adds_bos
from groundup.tokenization.tokenizer import Tokenizer

BUILTIN = ("alpaca", "chatml", "llama3", "phi")
OWN = "own"
# What `strftime_now` tells a template, so that a rendering is the same on every day; it is the date Llama 3.1's own
# template takes when it is told none.
TODAY = datetime(2024, 7, 26)


@dataclass(frozen=True)
class ChatTemplate:
    """Jinja source, and the name people know it by: `chatml`, a path, `the model's own`."""

    source: str
    name: str

    def __post_init__(self) -> None:
        try:
            compiled(self.source)
        except TemplateSyntaxError as error:
            raise GroundupError(
                f"the chat template {self.name} is not valid Jinja: line {error.lineno}: {error.message}; "
                f"give another one, or one of ours: {', '.join(BUILTIN)}"
            ) from error

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        tokens: Mapping[str, str],
        add_generation_prompt: bool = False,
        now: datetime = TODAY,
    ) -> str:
        """The text of a conversation; `tokens` are the names of special tokens by their role (`bos_token`, ...).

        Raises `TemplateError` when the template refuses or fails.
        """
        values = dict(tokens) | {
            "messages": list(messages),
            "tools": list(tools) or None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            return run(self.source, values, now)
        except TemplateRefusal as error:
            raise TemplateError(f"the chat template {self.name} refuses: {error}") from error
        except UndefinedError as error:
            raise TemplateError(
                f"the chat template {self.name} needs what is not there: {error}", str(error)
            ) from error
        except RecursionError as error:
            raise TemplateError(
                f"the chat template {self.name} calls itself without end", "endless recursion"
            ) from error
        except Exception as error:  # a template is a program: it may fail in any way
            raise TemplateError(f"the chat template {self.name} fails: {error or type(error).__name__}") from error

    @cached_property
    def marks_answers(self) -> bool:
        """Whether the template says itself what the assistant wrote, by `{% generation %}` blocks."""
        return "endgeneration" in self.source


def builtin(name: str) -> ChatTemplate:
    """One of our own templates. Raises `GroundupError` for a name that is none."""
    if name not in BUILTIN:
        raise unknown_name("chat template", name, (*BUILTIN, OWN))
    source = (Path(__file__).parent / "builtin" / f"{name}.jinja").read_text(encoding="utf-8")
    return ChatTemplate(source, name)


def find_template(choice: str | None, tokenizer: Tokenizer) -> ChatTemplate:
    """The template that `choice` means: a name of ours, a `.jinja` file, or `own`, the one that came with the tokenizer.

    None: the model's own, else chatml. A model whose texts begin with a token of their own gets it in ours too. Raises
    `GroundupError` when there is none of that name.
    """
    own = tokenizer.chat_template
    if choice == OWN or (choice is None and own is not None):
        if own is None:
            raise GroundupError(f"the model has no chat template of its own; choose one of ours: {', '.join(BUILTIN)}")
        return ChatTemplate(own, "of the model")
    choice = choice or "chatml"
    if choice not in BUILTIN and ("/" in choice or "." in choice):
        try:
            return ChatTemplate(Path(choice).read_text(encoding="utf-8"), choice)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise GroundupError(f"the chat template {choice} cannot be read: {why}") from error
    template = builtin(choice)
    if adds_bos(tokenizer) and "bos_token" not in template.source:
        return ChatTemplate("{{- bos_token }}\n" + template.source, choice)
    return template
