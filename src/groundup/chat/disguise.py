"""People's text goes through a template in disguise, so that nothing the template does can make a special token of it.

The one idea: a special token's name has a letter that is rare elsewhere (`<`, `[`). Before rendering, that letter is replaced,
wherever people wrote it, by a letter that no text can hold: half a surrogate pair. One letter for one letter, so lengths,
trimming, cutting and joining are as before, but no name can arise: not whole, not from two halves, not from a half and the
template's own text. What is left of names in the rendered text is the template's; then the disguise comes off.

An assistant's own text keeps plain tags that its tokenizer has as ordinary symbols (`<think>`): a model writes them itself, and
templates look for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from groundup.core.errors import GroundupError

_HALF = re.compile("[\ud800-\udfff]")
_TAG = re.compile(r"</?[A-Za-z_]+>")
_FIRST = 0xDC00  # the second halves of pairs, from here on; sandbox.py has two of the last for itself


class Disguise:
    """The letters to hide for the names of `structure` tokens, and the tags among `symbols` an assistant may write."""

    def __init__(self, structure: Iterable[str], symbols: Iterable[str] = ()) -> None:
        letters = sorted({_rare_letter(name) for name in structure})
        self._hidden = {ord(letter): chr(_FIRST + n) for n, letter in enumerate(letters[:128])}
        self._shown = {ord(hidden): chr(letter) for letter, hidden in self._hidden.items()}
        tags = [re.escape(name) for name in symbols if _TAG.fullmatch(name)]
        self._tags = re.compile(f"({'|'.join(sorted(tags))})") if tags else None

    def text(self, text: str) -> str:
        """A text of people in disguise. Raises `GroundupError` for one that holds half a surrogate pair."""
        if not text.isascii() and (found := _HALF.search(text)):
            raise GroundupError(
                f"character {found.start()} is half a surrogate pair ({found[0]!r}), which no encoding can hold; "
                "read the file as UTF-8 without errors='surrogateescape'"
            )
        return text.translate(self._hidden)

    def assistant_text(self, text: str) -> str:
        """The same for what an assistant said: its tags stay."""
        if self._tags is None:
            return self.text(text)
        parts = self._tags.split(text)  # every second one is a tag
        return "".join(part if n % 2 else self.text(part) for n, part in enumerate(parts))

    def value(self, value: Any) -> Any:
        """Any JSON value, the texts in it and its keys in disguise; what is no JSON becomes text."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value if value is None or isinstance(value, bool | int | float) else self.text(str(value))

    def message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """A message: all but its role, which templates compare."""
        disguised = {key: self.value(value) for key, value in message.items() if key != "role"}
        if message["role"] == "assistant":
            for key in ("content", "reasoning_content"):
                if isinstance(message.get(key), str):
                    disguised[key] = self.assistant_text(message[key])
        return {"role": message["role"], **disguised}

    def off(self, text: str) -> str:
        """The text as people wrote it."""
        return text.translate(self._shown)


def _rare_letter(name: str) -> str:
    """The first letter of a token's name that words do not have; of a name that is a word, its first."""
    return next(
        (letter for letter in name if not letter.isalnum() and not letter.isspace() and letter not in "_▁"), name[0]
    )
