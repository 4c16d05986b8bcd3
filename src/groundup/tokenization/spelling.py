"""The bytes each id stands for, for every kind of tokenizer that has such bytes.

| kind | a token is spelled |
|---|---|
| characters | as it is; `<0xE4>` is a byte |
| byte level | each character is one byte in disguise (GPT-2's alphabet) |
| SentencePiece | `▁` is a space, `<0xE4>` a byte |

Pieces of WordPiece and of whole words have no bytes of their own: the space between words is nobody's, and text may have been
lowercased before. For these `estimated_bytes` gives what `bits per byte` needs: the letters of the piece, and one byte for
the space before a piece that begins a word of letters or digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from groundup.tokenization.fast import byte_alphabet, is_char

SPACE = "▁"
_BYTE_NAME = re.compile(r"<0x([0-9A-F]{2})>")


@dataclass(frozen=True)
class Spelling:
    """`table[id]` is the bytes of an id. `drops_space`: a text decoded loses one space at its beginning, which was put
    there when it was encoded."""

    table: list[bytes]
    drops_space: bool = False


def find_spelling(description: dict[str, Any], vocabulary: dict[str, int], added: dict[str, int]) -> Spelling | None:
    """The spelling of a parsed `tokenizer.json`, or None for one whose pieces have no bytes of their own."""
    kind = _kind(description)
    if kind is None:
        return None
    spell, drops_space = kind
    table = [b""] * (max(vocabulary.values()) + 1)
    for token, id in vocabulary.items():
        table[id] = token.encode("utf-8") if token in added else spell(token)
    return Spelling(table, drops_space)


def estimated_bytes(token: str, prefix: str = "##") -> int:
    """About how many bytes of text a piece without bytes of its own stands for."""
    if prefix and token.startswith(prefix) and token != prefix:
        return len(token.removeprefix(prefix).encode("utf-8"))
    return len(token.encode("utf-8")) + token[:1].isalnum()


def is_byte_name(token: str) -> bool:
    """Whether a token is a byte by its name, as `<0xE4>`."""
    return bool(_BYTE_NAME.fullmatch(token))


def _kind(description: dict[str, Any]) -> tuple[Callable[[str], bytes], bool] | None:
    if is_char(description):
        return _spell_character, False
    decoder = description.get("decoder") or {}
    steps = decoder["decoders"] if decoder.get("type") == "Sequence" else [decoder]
    match [step.get("type") for step in steps]:
        case ["ByteLevel"]:
            return _spell_byte_level, False
        case ["ByteFallback", "Fuse"]:
            return _spell_character, False
    if decoder.get("type") == "Metaspace" and decoder["replacement"] == SPACE:
        return _spell_space, decoder.get("prepend_scheme", "always") != "never"
    if not steps or not _is_space_for_mark(steps[0]):
        return None
    kinds = [step["type"] for step in steps[1:]]
    if [kind for kind in kinds if kind not in ("ByteFallback", "Fuse", "Strip")]:
        return None
    strips = [step for step in steps if step["type"] == "Strip" and step["content"] == " "]
    spell = _spell_piece if "ByteFallback" in kinds else _spell_space
    return spell, any(step["start"] for step in strips)


def _is_space_for_mark(step: dict[str, Any]) -> bool:
    return (step.get("type"), step.get("pattern"), step.get("content")) == ("Replace", {"String": SPACE}, " ")


def _spell_character(token: str) -> bytes:
    byte = _BYTE_NAME.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.encode("utf-8")


def _spell_space(token: str) -> bytes:
    return token.replace(SPACE, " ").encode("utf-8")


def _spell_piece(token: str) -> bytes:
    byte = _BYTE_NAME.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else _spell_space(token)


_ALPHABET = byte_alphabet()


def _spell_byte_level(token: str) -> bytes:
    try:
        return bytes([_ALPHABET[character] for character in token])
    except KeyError:  # no bytes in disguise: the library gives such a token out as it is written
        return token.encode("utf-8")
