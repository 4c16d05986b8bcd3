r"""SentencePiece's table of character rules (`precompiled_charsmap`), as steps that a `tokenizer.json` can take.

The table is a trie (double array, as darts-clone stores it) of strings and what they become; the longest rule that
fits is taken, then reading goes on behind it. `tokenizers` has a step for such tables, `Precompiled`, but it looks at
grapheme clusters, takes the shortest rule and drops the rest of the cluster ("①" with an accent loses the accent), never
finds rules longer than five bytes (the Japanese か with a separate voicing mark), and stops with an error on
characters that vanish at the beginning of a text. So the table is taken apart:

1. What vanishes becomes a barrier, a character that is taken out at the end.
2. A barrier is set before every combining character that no rule joins with the character before it.
3. What is left joined is composed (NFC); rules of several characters are compositions.
4. Each character is set apart by a second kind of barrier, so that `Precompiled` sees no clusters; it applies the rules of
   one character; then that kind is taken out, and compositions that the rules have made possible follow (NFC).

Whether these steps do what the table says is not argued but checked: every rule is tried, and what they miss (21 of
225,276 rules of `nmt_nfkc`, scripts too new for the library's NFC) gets a step of its own.
"""

from __future__ import annotations

import base64
import itertools
import json
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from groundup.core.errors import GroundupError

# Unassigned and ignorable: they break clusters and compositions. A text that holds one all the same loses it, the one
# difference that is left.
_BARRIER, _CLUSTER_BARRIER = "\ufff0", "\ufff1"

# What continues a grapheme cluster (Unicode Annex 29: Extend, SpacingMark, ZWJ, Hangul vowels and finals, the line feed of
# CR LF), and what is continued by anything (Prepend).
_CONTINUES = (
    r"(?<=[\s\S])(?=[\p{M}\n\x{E33}\x{EB3}\x{200C}\x{200D}\x{FF9E}\x{FF9F}\x{1F3FB}-\x{1F3FF}\x{E0020}-\x{E007F}"
    r"\x{1160}-\x{11FF}\x{D7B0}-\x{D7FF}])"
    r"|(?<=[\x{600}-\x{605}\x{6DD}\x{70F}\x{890}\x{891}\x{8E2}\x{D4E}\x{110BD}\x{110CD}\x{111C2}\x{111C3}\x{113D1}"
    r"\x{1193F}\x{11941}\x{11A3A}\x{11A84}-\x{11A89}\x{11D46}\x{11F02}])(?=[\s\S])"
)
_MOST_EXCEPTIONS = 1024


@lru_cache(maxsize=4)
def charsmap_steps(charsmap: bytes) -> list[dict[str, Any]]:
    """Normaliser steps of a `tokenizer.json` that do what the table does; none for an empty table.

    Raises `GroundupError` on a damaged table, and on one whose rules cannot be written as such steps.
    """
    if not charsmap:
        return []
    rules = read_charsmap(charsmap)
    steps = _steps(charsmap, rules)
    missed = _missed(steps, rules)
    if len(missed) > _MOST_EXCEPTIONS or any(rule not in rules for rule in missed):
        example = ascii(missed[0])
        raise GroundupError(
            f"{len(missed):,} of the {len(rules):,} normaliser rules of this model (such as {example} to "
            f"{rules.get(missed[0], missed[0])!a}) cannot be written into a tokenizer.json, so it cannot be imported exactly"
        )
    exceptions: dict[tuple[int, str], list[str]] = defaultdict(list)
    for rule in missed:
        exceptions[-len(rule), rules[rule]].append(rule)  # longer rules come first
    return [_any_of(exceptions[key], key[1]) for key in sorted(exceptions)] + steps


def read_charsmap(charsmap: bytes) -> dict[str, str]:
    """Every rule of the table: a string and what it becomes."""
    try:
        n_bytes = int.from_bytes(charsmap[:4], "little")
        units = np.frombuffer(charsmap, "<u4", n_bytes // 4, 4).astype(np.int64)
        return _rules(units, charsmap[4 + n_bytes :])
    except (ValueError, IndexError, KeyError) as error:
        raise GroundupError(f"the normaliser table of this model is damaged ({error}); get the file again") from None


def replace_step(pattern: str, content: str, *, regex: bool = False) -> dict[str, Any]:
    """A `Replace` step of a `tokenizer.json`."""
    return {"type": "Replace", "pattern": {"Regex" if regex else "String": pattern}, "content": content}


def normalizer_of(steps: list[dict[str, Any]]) -> Any:
    """The library's normaliser that takes these steps one after another."""
    description = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    return Tokenizer.from_str(json.dumps(description)).normalizer


def _rules(units: np.ndarray, targets: bytes) -> dict[str, str]:
    """Walk the double array. A unit holds its label (8 bits), whether a value hangs on it, and where its children are."""
    places = np.arange(len(units))
    base = places ^ ((units >> 10) << ((units & 0x200) >> 6))
    label = units & 0x800000FF
    inner = (label > 0) & (label < 256)
    children: dict[int, list[int]] = defaultdict(list)
    for parent_base, place in zip((places ^ label)[inner].tolist(), places[inner].tolist(), strict=True):
        children[parent_base].append(place)
    bases, labels, has_value = base.tolist(), label.tolist(), (units & 0x100).astype(bool).tolist()
    rules, waiting = {}, [(0, b"")]
    while waiting:
        place, key = waiting.pop()
        if has_value[place]:
            start = int(units[bases[place]]) & 0x7FFFFFFF
            rules[key.decode("utf-8")] = targets[start : targets.index(0, start)].decode("utf-8")
        waiting += [(child, key + bytes([labels[child]])) for child in children.get(bases[place], ())]
    return rules


def _any_of(rules: list[str], target: str) -> dict[str, Any]:
    if len(rules) == 1:
        return replace_step(rules[0], target)
    spelled = ("".join(rf"\x{{{ord(character):X}}}" for character in rule) for rule in sorted(rules))
    return replace_step("|".join(spelled), target, regex=True)


def _steps(charsmap: bytes, rules: dict[str, str]) -> list[dict[str, Any]]:
    before: dict[str, set[str]] = defaultdict(set)  # the characters that some rule joins with the one that follows them
    for rule in rules:
        for left, right in itertools.pairwise(rule):
            before[right].add(left)
    vanishing = [rule for rule, target in rules.items() if len(rule) == 1 and not target]
    joining = set(before)
    joining |= {character for character in map(chr, range(sys.maxunicode + 1)) if unicodedata.combining(character)}
    joining |= {rule for rule, target in rules.items() if len(rule) == 1 and target[:1] in joining}
    steps = [replace_step(_one_of(vanishing), _BARRIER, regex=True)] if vanishing else []
    return [
        *steps,
        replace_step(_unjoined(joining, before), _BARRIER, regex=True),
        {"type": "NFC"},
        replace_step(_CONTINUES, _CLUSTER_BARRIER, regex=True),
        {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode("ascii")},
        replace_step(_CLUSTER_BARRIER, ""),
        {"type": "NFC"},
        replace_step(_BARRIER, ""),
    ]


def _unjoined(joining: set[str], before: dict[str, set[str]]) -> str:
    """The places before a joining character that no rule joins with what precedes it; never the beginning of a text,
    where nothing can be joined and where the library loses count of what is inserted."""
    groups: dict[frozenset[str], list[str]] = defaultdict(list)
    for character in joining:
        groups[frozenset(before.get(character, ()))].append(character)
    places = sorted(
        (f"(?<!{_one_of(left)})" if left else "") + f"(?={_one_of(right)})" for left, right in groups.items()
    )
    return f"(?={_one_of(joining)})(?<=[\\s\\S])(?:{'|'.join(places)})"


def _one_of(characters: Iterable[str]) -> str:
    """A character class for the library's regular expressions."""
    ranges: list[list[int]] = []
    for code_point in sorted(map(ord, characters)):
        if ranges and code_point == ranges[-1][1] + 1:
            ranges[-1][1] = code_point
        else:
            ranges.append([code_point, code_point])
    return "[" + "".join(rf"\x{{{a:X}}}" + (rf"-\x{{{b:X}}}" if b > a else "") for a, b in ranges) + "]"


def _missed(steps: list[dict[str, Any]], rules: dict[str, str]) -> list[str]:
    """The rules that the steps do not carry out, and characters without a rule that the steps change."""
    normalize = normalizer_of(steps).normalize_str
    # Rules are tried many at once, each on a line between letters that nothing joins or changes.
    assigned = itertools.chain(
        range(0x20, 0xD800), range(0xE000, 0x40000), range(0xE0000, 0xE1000)
    )  # or could be one day
    free = [chr(c) for c in assigned if chr(c) not in rules]
    tried = [*rules, *(c for c in free if c not in (_BARRIER, _CLUSTER_BARRIER))]
    expected = [rules.get(text, text) for text in tried]
    missed = []
    for start in range(0, len(tried), 4096):
        part = slice(start, start + 4096)
        found = normalize("0" + "0".join(tried[part]) + "0")
        if found != "0" + "0".join(expected[part]) + "0":
            pairs = zip(tried[part], expected[part], strict=True)
            missed += [text for text, target in pairs if normalize(f"0{text}0") != f"0{target}0"]
    return missed
