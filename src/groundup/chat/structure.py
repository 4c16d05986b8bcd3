"""A text with structure in it, to ids: the names of special tokens become their ids, everything between them stays text.

The one idea: split at the names first, as the `tokenizers` library does with added tokens (the leftmost, of two there the
longest; whitespace beside a token that swallows it is gone), then encode what lies between as people's text always is. The text
may also be cut at places that no token may cross, so that a prompt's ids are the beginning of the whole's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from groundup.tokenization.guard import is_markup
from groundup.tokenization.tokenizer import Tokenizer

_SPACE = r"[^\S\x1c-\x1f]*"  # Unicode's white space; Python also counts four control characters
_SPACE_BEFORE, _SPACE_AFTER = re.compile(_SPACE + r"\Z"), re.compile(_SPACE)


class StructureEncoder:
    """Encodes for one tokenizer; `ids` are those of its structure tokens by name, `symbols` those not flagged special."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        added = tokenizer.description.get("added_tokens") or []
        self._tokens: dict[str, dict[str, Any]] = {
            token["content"]: token
            for token in added
            if (token["special"] or is_markup(token["content"]))
            and len(token["content"]) > 1
            and not token["content"].isspace()
        }
        self.ids = {name: int(token["id"]) for name, token in self._tokens.items()}
        self.symbols = frozenset(name for name, token in self._tokens.items() if not token["special"])
        names = sorted(self._tokens, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(self._pattern_of, names)) or r"(?!)")
        self._tokenizer = tokenizer
        continued = _without_prefix(tokenizer.description)
        self._continued = tokenizer if continued is None else Tokenizer(json.dumps(continued), {})
        self._only_first = '"prepend_scheme": "first"' in json.dumps(tokenizer.description.get("pre_tokenizer"))

    def encode(
        self, text: str, cuts: Sequence[int] = (), undisguised: Callable[[str], str] = str
    ) -> tuple[list[int], list[int]]:
        """The ids of `text`, and for each of the rising places `cuts` how many ids stand before it.

        `undisguised` is applied to what lies between the tokens.
        """
        ids: list[int] = []
        before: list[int] = []

        def part(begin: int, end: int, opens: bool) -> None:
            if begin < end:
                tokenizer = self._tokenizer if opens and not (self._only_first and begin) else self._continued
                ids.extend(tokenizer.encode(undisguised(text[begin:end])))

        def section(begin: int, end: int) -> None:
            """What lies between two tokens, in parts; the cuts up to its end are passed."""
            place = begin
            while len(before) < len(cuts) and cuts[len(before)] <= end:
                cut = cuts[len(before)]
                part(place, cut, place == begin)
                place = max(place, cut)
                before.append(len(ids))
            part(place, end, place == begin)

        begin = 0
        for found in self.pattern.finditer(text):
            token = self._tokens[found[0]]
            end = found.start()
            if token["lstrip"]:
                # A prompt that ends here was not trimmed: what comes after it had not been said.
                last_cut = max((cut for cut in cuts if cut <= end), default=0)
                space = _SPACE_BEFORE.search(text, begin, end)
                end = max(begin, last_cut, space.start() if space else end)
            section(begin, end)
            while len(before) < len(cuts) and cuts[len(before)] <= found.start():
                before.append(len(ids))
            ids.append(int(token["id"]))
            begin = found.end()
            if token["rstrip"]:
                space = _SPACE_AFTER.match(text, begin)
                begin = space.end() if space else begin
        section(begin, len(text))
        return ids, before

    def _pattern_of(self, name: str) -> str:
        word = self._tokens[name].get("single_word")
        return rf"(?<!\w){re.escape(name)}(?!\w)" if word else re.escape(name)


def _without_prefix(description: dict[str, Any]) -> dict[str, Any] | None:
    """A `tokenizer.json` that puts no space before a text; None where this one puts none."""
    parts = {name: _stepwise(description.get(name)) for name in ("normalizer", "pre_tokenizer")}
    changed = {name: part for name, part in parts.items() if part != description.get(name)}
    return description | changed if changed else None


def _stepwise(step: dict[str, Any] | None) -> dict[str, Any] | None:
    match step:
        case {"type": "Sequence"}:
            key = "normalizers" if "normalizers" in step else "pretokenizers"
            return step | {key: [new for old in step[key] if (new := _stepwise(old)) is not None]}
        case {"type": "Prepend"}:
            return None
        case {"type": "Metaspace"} if step.get("prepend_scheme", "always") != "never":
            return (
                step | {"prepend_scheme": "never"} | ({"add_prefix_space": False} if "add_prefix_space" in step else {})
            )
        case {"type": "ByteLevel", "add_prefix_space": True}:
            return step | {"add_prefix_space": False}
    return step
