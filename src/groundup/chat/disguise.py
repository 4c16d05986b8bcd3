"""People's text goes through a template in disguise, so that nothing the template does can make a special token of it.

The one idea: a special token's name begins and ends with letters that are rare elsewhere (`<` and `>`, `[` and `]`). Before
rendering, these are replaced, wherever people wrote them, by letters that no text can hold: halves of surrogate pairs. One letter
for one letter, so lengths, trimming, cutting and joining are as before, but no name can arise: not whole, not from two halves,
not from a half and the template's own text. (A message that is nothing but the middle of a name loses its first letter too.)
What is left of names in the rendered text is the template's; then the disguise comes off.

An assistant's own text keeps plain tags (`<think>`) that its tokenizer has as ordinary symbols, or the template's source looks
for: a model writes them itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from groundup.chat.errors import CannotRender

_HALF = re.compile("[\ud800-\udfff]")
_TAG = re.compile(r"</?[A-Za-z_]+>")
_FIRST, _N_LETTERS = 0xDC00, 254  # the second halves of pairs, from here on; the next two are the sandbox's


class Disguise:
    """The letters to hide for the names of `structure` tokens, and the tags an assistant may write.

    These are the plain tags among `symbols`, the structure that is not flagged special, and in a template's `source`.
    """

    def __init__(self, structure: Iterable[str], symbols: Iterable[str] = (), source: str = "") -> None:
        names, symbols = list(structure), set(symbols)
        rare = sorted({letter for name in names for letter in _rare_letters(name)})
        others = sorted({letter for name in names for letter in name} - set(rare))
        hidden = {letter: chr(_FIRST + n) for n, letter in enumerate([*rare, *others][:_N_LETTERS])}
        self._hidden = {ord(letter): hidden[letter] for letter in rare if letter in hidden}
        self._others = hidden
        self._shown = {ord(stand_in): letter for letter, stand_in in hidden.items()}
        self._names = "\n".join(names)
        special = set(names) - symbols
        tags = {tag for tag in (*symbols, *_TAG.findall(source)) if _TAG.fullmatch(tag)} - special
        self._tags = re.compile(f"({'|'.join(map(re.escape, sorted(tags)))})") if tags else None

    def text(self, text: str) -> str:
        """A text of people in disguise. Raises `CannotRender` for one that holds half a surrogate pair."""
        if not text.isascii() and (found := _HALF.search(text)):
            raise CannotRender(
                "a message holds half a surrogate pair, which no encoding can hold; read the file as UTF-8 without "
                "errors='surrogateescape'",
                f" (character {found.start()}, {found[0]!r})",
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
        content = message.get("content")
        if isinstance(content, str) and (word := content.strip()) and word in self._names:
            begin, text = content.index(word), self.text(content)
            disguised["content"] = text[:begin] + self._others.get(word[0], word[0]) + text[begin + 1 :]
        elif message["role"] == "assistant":
            for key in ("content", "reasoning_content", "thinking"):
                if isinstance(message.get(key), str):
                    disguised[key] = self.assistant_text(message[key])
        return {"role": message["role"], **disguised}

    def off(self, text: str) -> str:
        """The text as people wrote it."""
        return text.translate(self._shown)


def _rare_letters(name: str) -> list[str]:
    """The first and the last letter of a token's name that words do not have; of a name that is a word, its first."""
    found = [letter for letter in name if not letter.isalnum() and not letter.isspace() and letter not in "_▁"]
    return [found[0], found[-1]] if found else [name[0]]
