"""Ids into text one at a time, as they are generated, and never a part of a character."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groundup.tokenization.tokenizer import Tokenizer


class TextStream:
    """Turns ids into text one at a time and never gives out part of a character.

    The texts of all `push` calls and of `flush`, joined, are what `decode` gives for all ids together.
    """

    def __init__(self, tokenizer: Tokenizer, *, skip_special: bool = False, continued: bool = False) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._ids: list[int] = []
        self._given = ""
        spelling = tokenizer.spelling
        self._drops_space = spelling is not None and spelling.drops_space and not continued

    def push(self, id: int) -> str:
        """Take one id; give the text that is certain now, possibly none."""
        table = self._tokenizer.bytes_table()
        self._tokenizer.token_of(id)  # refuses a strange id
        if self._skip_special and id in self._tokenizer.special_ids:
            return ""
        if table is not None:
            return self._without_prefix(self._utf8.decode(table[id]))
        self._ids.append(id)
        return self._new_text(self._tokenizer.decode(self._ids).rstrip("\ufffd"))

    def flush(self) -> str:
        """The end: what was held back, with U+FFFD for a character that never became whole."""
        if self._tokenizer.bytes_table() is not None:
            return self._without_prefix(self._utf8.decode(b"", final=True))
        return self._new_text(self._tokenizer.decode(self._ids))

    def _without_prefix(self, text: str) -> str:
        """Less the space that was put before the text when it was encoded."""
        if text and self._drops_space:
            text, self._drops_space = text.removeprefix(" "), False
        return text

    def _new_text(self, text: str) -> str:
        new, self._given = text[len(self._given) :], text
        return new
