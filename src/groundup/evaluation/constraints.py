"""Instructions whose following a program can check: length, bullets, keywords, case, JSON, last words, commas.

One idea: what a person can ask for and a program can see needs no judge. Names and arguments are those of IFEval (Zhou et al. 2023,
"Instruction-Following Evaluation for Large Language Models", table 1 and section 2), so rows of its published file with these
checks can be used as they are. *Strict* looks at the answer as it stands; *loose* (section 2.2) also without its first line,
without its last, without both, and each of these without the asterisks of Markdown, and takes the best: an introduction
("Sure, here it is:") is then forgiven.

Not checked, unlike there: that a text in one case is English.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from groundup.core.errors import GroundupError, unknown_name

_BULLET = re.compile(r"^\s*(?:\*[^*]|-).*$", re.MULTILINE)
_FENCE = re.compile(r"^```(?:json)?\s*|\s*```$", re.IGNORECASE)


@dataclass(frozen=True)
class Constraint:
    """One thing an answer was asked to be; `arguments` are those of its check."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Followed:
    """Whether each constraint of a prompt was followed, in order."""

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]


def _number_of_words(answer: str, relation: str, num_words: int) -> bool:
    return _holds(len(re.findall(r"\w+", answer)), relation, num_words)


def _number_of_bullets(answer: str, num_bullets: int) -> bool:
    return len(_BULLET.findall(answer)) == num_bullets


def _keywords(answer: str, keywords: Sequence[str]) -> bool:
    return all(re.search(re.escape(word), answer, re.IGNORECASE) for word in keywords)


def _no_keywords(answer: str, forbidden_words: Sequence[str]) -> bool:
    return not any(re.search(rf"\b{re.escape(word)}\b", answer, re.IGNORECASE) for word in forbidden_words)


def _is_json(answer: str) -> bool:
    try:
        json.loads(_FENCE.sub("", answer.strip()))
    except (ValueError, RecursionError):
        return False
    return True


def _ends_with(answer: str, end_phrase: str) -> bool:
    return answer.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _holds(number: int, relation: str, bound: int) -> bool:
    if relation not in ("at least", "less than"):
        raise GroundupError(f"relation is {relation!r}; it is 'at least' or 'less than'")
    return number >= bound if relation == "at least" else number < bound


CHECKS: dict[str, Callable[..., bool]] = {
    "length_constraints:number_words": _number_of_words,
    "detectable_format:number_bullet_lists": _number_of_bullets,
    "keywords:existence": _keywords,
    "keywords:forbidden_words": _no_keywords,
    "change_case:english_lowercase": lambda answer: answer.islower(),
    "change_case:english_capital": lambda answer: answer.isupper(),
    "detectable_format:json_format": _is_json,
    "startend:end_checker": _ends_with,
    "punctuation:no_comma": lambda answer: "," not in answer,
}


def constraints_of(row: Mapping[str, Any]) -> tuple[Constraint, ...]:
    """The constraints of a row in IFEval's form (`instruction_id_list`, `kwargs`); none when it has no such fields.

    Raises `GroundupError` for a check that is not known or has other arguments.
    """
    names = row.get("instruction_id_list") or ()
    given = row.get("kwargs") or [{}] * len(names)
    if len(given) != len(names):
        raise GroundupError(f"{len(names)} instructions but {len(given)} kwargs; each instruction has its own")
    found = []
    for name, arguments in zip(names, given, strict=True):
        if name not in CHECKS:
            raise unknown_name("constraint", str(name), CHECKS)
        # Published files write every argument of every check and null where it is not this one's.
        constraint = Constraint(name, {key: value for key, value in (arguments or {}).items() if value is not None})
        try:
            CHECKS[name]("", **constraint.arguments)
        except TypeError as error:
            raise GroundupError(f"{name}: {str(error).partition('()')[2].strip() or error}") from None
        found.append(constraint)
    return tuple(found)


def follow(answer: str, constraints: Sequence[Constraint]) -> Followed:
    """Check every constraint; an empty answer follows none."""
    versions = [text for text in _loosened(answer) if text.strip()]
    strict = tuple(bool(answer.strip()) and _check(answer, one) for one in constraints)
    return Followed(strict, tuple(any(_check(text, one) for text in versions) for one in constraints))


def _check(answer: str, constraint: Constraint) -> bool:
    return CHECKS[constraint.name](answer, **constraint.arguments)


def _loosened(answer: str) -> list[str]:
    lines = answer.split("\n")
    cut = [answer, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return cut + [text.replace("*", "") for text in cut]
