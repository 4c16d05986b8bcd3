"""Errors for people: what is wrong, the value found, and the way out.

A `GroundupError` is the fault of an input, never of this program. The command line prints its message
without a traceback and exits with code 2; from Python it is an ordinary `ValueError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GroundupError(ValueError):
    """Something a person gave us cannot be used; the message names it and says what to do."""


class MissingExtraError(GroundupError, ImportError):
    """An optional library is not installed; the message names the extra that brings it."""


def missing_extra(library: str, extra: str, purpose: str) -> MissingExtraError:
    """The error for an optional `library` (or several, with spaces) that `purpose` needs; `extra` is what brings it."""
    names = library.split()
    absent, has = ("which is not installed", "has it") if len(names) == 1 else ("which are not installed", "has them")
    return MissingExtraError(
        f"{purpose} needs {' and '.join(names)}, {absent}; pip install {library} (the extra groundup[{extra}] {has})"
    )


def nearest(name: str, options: Iterable[str]) -> str | None:
    """The option most like `name`, or None when nothing is close."""
    found = difflib.get_close_matches(name, list(options), n=1, cutoff=0.6)
    return found[0] if found else None


def unknown_name(kind: str, name: str, options: Iterable[str]) -> GroundupError:
    """The error for a `name` that is none of the `options`: it lists them and suggests the nearest."""
    options = sorted(options)
    guess = nearest(name, options)
    hint = f"; did you mean {guess!r}?" if guess else ""
    return GroundupError(f"unknown {kind} {name!r}{hint} (known: {', '.join(options)})")
