"""The names of the special tokens, in one place.

A special token marks structure (where a document ends, who speaks) and never comes from a person's text. The names are
those of GPT-2 (`<|endoftext|>`) and of the ChatML convention (`<|im_start|>`), so that published tools know them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SpecialTokens:
    """Which strings stand for which role in a tokenizer we train; they take its last ids, in `names()` order.

    A document begins where the last one ended, so beginning and end of text are one token by default, as in GPT-2.
    """

    eos: str = "<|endoftext|>"
    bos: str = "<|endoftext|>"
    pad: str = "<|pad|>"
    unk: str = "<|unk|>"
    chat: tuple[str, ...] = ("<|im_start|>", "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")

    def names(self) -> list[str]:
        """Every special string once, in the order of their ids."""
        return list(dict.fromkeys((self.eos, self.bos, self.pad, self.unk, *self.chat)))


SPECIAL_TOKENS = SpecialTokens()
