"""Texts as they come in: that they are text at all, and gathered until they are worth a thread's while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from groundup.core.errors import GroundupError


def checked(text: str) -> str:
    """The text; raises `GroundupError` for half a surrogate pair, which no encoding can hold."""
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise GroundupError(
                f"character {error.start} of the text is half a surrogate pair ({text[error.start]!r}), which no "
                "encoding can hold; read the file as UTF-8 without errors='surrogateescape'"
            ) from None
    return text


def in_groups(texts: Iterable[str], n_characters: int) -> Iterator[list[str]]:
    """Texts gathered until they are worth a thread's while."""
    group, size = [], 0
    for text in texts:
        group.append(text)
        size += len(text)
        if size >= n_characters:
            yield group
            group, size = [], 0
    if group:
        yield group
