"""The one engine: texts in flight over one model, each step giving every one of them its next token.

One idea: a batch is only a bundle of texts that happen to be read together. Each text keeps its own tokens, settings
and source of randomness; prompts of any length join the bundle after they were read (`DecodeState.join`), finished
ones leave it at once (`DecodeState.select`), and what a text becomes does not depend on its neighbours (to rounding:
in float32 that is the same text; in bfloat16 two near-equal tokens may swap). Samples of one prompt share the reading
of it. A model with several adapters writes each text with its own, side by side (as S-LoRA serves them: Sheng et al. 2023).

The engine knows nothing of what the state holds, so keys and values or a recurrent state serve alike.

The rule of the context, for a model that reads at most C tokens (a recurrent one has no such limit):
- a prompt longer than C tokens is read from its last C tokens (`Continuation.n_unread` counts the rest);
- a text that outgrows C forgets all but its newest C // 2 tokens, which are read again from position 0, and goes on.
  Half, because reading again costs a pass over what is kept, and so is paid only once in C // 2 tokens.

`use_cache=False` reads the whole window again for every token, one text at a time: slow, plain, and what the cache is
tested against.

Shapes: B rows, T positions, D width, V vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from groundup.adapters.lora import BASE, adapters_kept, switch_of, use_adapters
from groundup.core.errors import GroundupError, unknown_name
from groundup.generation.sampling import SamplingSettings, choose_tokens, generator_for
from groundup.models.base import LanguageModel
from groundup.models.state import DecodeState

Finish = Literal["end", "length", "stopped"]


@dataclass(eq=False)
class Continuation:
    """One prompt being continued; whoever reads it may set `finish` to "stopped" to end it."""

    prompt: list[int]
    settings: SamplingSettings
    sample: int = 0  # which of the samples of its prompt this is
    adapter: str | None = (
        None  # which of the model's adapters writes it, "base" none; None: the one that is switched on
    )
    tokens: list[int] = field(default_factory=list)  # what was written; the token that ended the text is not in it
    finish: Finish | None = None
    n_unread: int = 0  # tokens of the prompt before the part that fitted the context
    n_slides: int = 0  # times the context was full and its older half was forgotten

    def __post_init__(self) -> None:
        if not self.prompt:
            raise GroundupError("a prompt without tokens cannot be continued; start it with the tokenizer's bos_id")


class Engine:
    """Continues texts with `model`: `add` some at any time, `step` while `busy`.

    `end_ids` are the tokens that end a text. `n_tokens` limits what may be chosen to the ids below it (the tokenizer's
    vocabulary, where the model's is padded). At most `batch_size` texts are in flight; the others wait for a place.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        end_ids: Collection[int] = (),
        n_tokens: int | None = None,
        batch_size: int = 32,
        use_cache: bool = True,
    ) -> None:
        if batch_size < 1:
            raise GroundupError(f"batch_size is {batch_size}; at least one text must be in flight")
        self._model = model
        self._end_ids = frozenset(end_ids)
        self._n_tokens = n_tokens or model.config.vocab_size
        self._batch_size = batch_size
        self._use_cache = use_cache
        self._device = next(model.parameters()).device
        self._waiting: list[_Row] = []
        self._running: list[_Row] = []
        self._state: DecodeState | None = None
        switch = switch_of(model)
        self._adapters = (BASE, *switch.names) if switch and not switch.merged else ()
        self._adapter = (switch.active or BASE) if switch else BASE

    @property
    def busy(self) -> bool:
        """Whether any text is unfinished."""
        return any(row.text.finish is None for row in (*self._running, *self._waiting))

    def add(self, text: Continuation) -> None:
        """Take a text in; it gets its first token at the next step that has a place for it."""
        largest = max(text.prompt)
        if largest >= self._model.config.vocab_size:
            raise GroundupError(
                f"the prompt holds token {largest}, but the model knows 0 to {self._model.config.vocab_size - 1}; "
                "use the tokenizer the model was trained with"
            )
        if text.adapter is not None and text.adapter not in self._adapters:
            raise unknown_name("adapter", text.adapter, self._adapters)
        self._waiting.append(_Row(text, self._model.config, self._device))

    @torch.inference_mode()
    def step(self) -> list[Continuation]:
        """Give every text in flight its next token; returns those texts.

        A text that met an end token has its `finish` set and no token added.
        """
        self._let_finished_leave()
        with inference(self._model), adapters_kept(self._model):
            hidden_BD = self._read_with_cache() if self._use_cache else self._read_without_cache()
            if hidden_BD is None:
                return []
            self._switch(self._running)
            logits_BV = self._model.unembed(hidden_BD)[:, : self._n_tokens]
        groups: dict[SamplingSettings, list[int]] = defaultdict(list)
        for index, row in enumerate(self._running):
            groups[row.text.settings].append(index)
        for settings, indices in groups.items():
            rows = [self._running[index] for index in indices]
            logits = logits_BV if len(groups) == 1 else logits_BV[indices]
            masks = [row.seen_V for row in rows if row.seen_V is not None]
            seen = torch.stack(masks)[:, : self._n_tokens] if masks else None
            tokens = choose_tokens(logits, settings, [row.generator for row in rows], seen)
            for row, token in zip(rows, tokens, strict=True):
                row.take(token, self._end_ids)
        return [row.text for row in self._running]

    def _let_finished_leave(self) -> None:
        self._waiting = [row for row in self._waiting if row.text.finish is None]
        staying = [index for index, row in enumerate(self._running) if row.text.finish is None]
        # A text whose context is full leaves too, and comes back at once to be read again.
        full = [self._running[index] for index in staying if self._running[index].is_full]
        for row in full:
            row.slide()
        if self._use_cache:
            self._waiting = full + self._waiting
            staying = [index for index in staying if self._running[index] not in full]
        if len(staying) < len(self._running):
            if self._state is not None:
                self._state = self._state.select(torch.tensor(staying, device=self._device)) if staying else None
            self._running = [self._running[index] for index in staying]

    def _read_with_cache(self) -> Tensor | None:
        """Read the newest token of every running text and the windows of those entering; [B, D] or None."""
        hidden, states = [], []
        if self._state is not None:
            self._switch(self._running)
            newest_B1 = torch.tensor([row.window[-1:] for row in self._running], device=self._device)
            hidden.append(self._model.trunk(newest_B1, self._state)[:, -1])
            states.append(self._state)
        for rows in self._entering():
            last_hidden_BD, state = self._prefill(rows)
            hidden.append(last_hidden_BD)
            states.append(state)
            self._running += rows
        if not states:
            return None
        self._state = states[0] if len(states) == 1 else states[0].join(states)
        return hidden[0] if len(hidden) == 1 else torch.cat(hidden)

    def _entering(self) -> list[list[_Row]]:
        """The waiting texts there is a place for, those with windows of one length together."""
        n_places = self._batch_size - len(self._running)
        entering, self._waiting = self._waiting[:n_places], self._waiting[n_places:]
        groups: dict[int, list[_Row]] = defaultdict(list)
        for row in entering:
            groups[len(row.window)].append(row)
        return list(groups.values())

    def _prefill(self, rows: list[_Row]) -> tuple[Tensor, DecodeState]:
        """Read windows of one length, each different one once; gives the last hidden vectors [B, D] and the state."""
        unique = {(row.text.adapter, tuple(row.window)): row for row in rows}
        places = {window: place for place, window in enumerate(unique)}
        tokens_UT = torch.tensor([row.window for row in unique.values()], device=self._device)
        self._switch(list(unique.values()))
        state = self._model.new_state(len(unique))
        last_hidden_UD = self._model.trunk(tokens_UT, state)[:, -1]
        if len(unique) == len(rows):
            return last_hidden_UD, state
        copies = torch.tensor([places[row.text.adapter, tuple(row.window)] for row in rows], device=self._device)
        return last_hidden_UD[copies], state.select(copies)

    def _read_without_cache(self) -> Tensor | None:
        for rows in self._entering():
            self._running += rows
        hidden = []
        for row in self._running:
            self._switch([row])
            hidden.append(self._model.trunk(torch.tensor([row.window], device=self._device))[:, -1])
        return torch.cat(hidden) if hidden else None

    def _switch(self, rows: list[_Row]) -> None:
        """Give each of the rows about to be read its adapter."""
        if self._adapters:
            use_adapters(self._model, [row.text.adapter or self._adapter for row in rows])


class _Row:
    """A text in flight: what the engine keeps beside it."""

    def __init__(self, text: Continuation, config, device: torch.device) -> None:
        self.text = text
        self.max_length: int | None = config.max_length
        # What the model has before it when it chooses the next token.
        self.window = text.prompt[-(self.max_length or len(text.prompt)) :]
        text.n_unread = len(text.prompt) - len(self.window)
        self.generator = generator_for(text.settings.seed, text.sample, device)
        self.seen_V: Tensor | None = None
        if text.settings.repetition_penalty != 1:
            self.seen_V = torch.zeros(config.vocab_size, dtype=torch.bool, device=device)
            self.seen_V[text.prompt] = True

    @property
    def n_left(self) -> int:
        """Tokens this text may still grow by."""
        return self.text.settings.max_new_tokens - len(self.text.tokens)

    def take(self, token: int, end_ids: frozenset[int]) -> None:
        """Add the chosen token, or end the text."""
        if token in end_ids:
            self.text.finish = "end"
            return
        self.text.tokens.append(token)
        self.window.append(token)
        if self.seen_V is not None:
            self.seen_V[token] = True
        if self.n_left == 0:
            self.text.finish = "length"

    @property
    def is_full(self) -> bool:
        """Whether the window has outgrown the context."""
        return self.max_length is not None and len(self.window) > self.max_length

    def slide(self) -> None:
        """Forget all but the newest half of a context."""
        assert self.max_length is not None
        self.window = self.window[-max(1, self.max_length // 2) :]
        self.text.n_slides += 1


@contextmanager
def inference(model: LanguageModel) -> Iterator[None]:
    """Switch dropout off inside, and back on afterwards when it was on."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()


def generate_ids(
    model: LanguageModel,
    prompts: list[list[int]],
    settings: SamplingSettings,
    *,
    end_ids: Collection[int] = (),
    n_samples: int = 1,
    batch_size: int = 32,
    use_cache: bool = True,
) -> list[list[int]]:
    """Continue prompts of token ids to their ends: `n_samples` lists of new ids for each prompt, prompt by prompt."""
    engine = Engine(model, end_ids=end_ids, batch_size=batch_size, use_cache=use_cache)
    texts = [Continuation(prompt, settings, sample) for prompt in prompts for sample in range(n_samples)]
    for text in texts:
        engine.add(text)
    while engine.busy:
        engine.step()
    return [text.tokens for text in texts]
