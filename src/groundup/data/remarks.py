"""What a person should hear about a corpus: rows and files left out, with the first place, and encodings found.

One idea: a remark is a count under a sentence, so a plain `Counter` is enough to listen and a corpus of a million bad
rows fills no memory. `Remarks` remembers the first hundred places too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from groundup.core.errors import GroundupError

MOST_PLACES = 100
_FIRST = " (first: "
_ONE, _SINGULAR = re.compile(r"\b(file|row|split|character)s\b"), r"\1"


class Unreadable(GroundupError):
    """A file that cannot be read; `reason` is the sentence without the file's name."""

    def __init__(self, place: object, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.reason = reason


class Remarks(Counter[str]):
    """A counter of remarks that also keeps `rejected`, the first (place, reason) pairs, and what files were.

    `encodings` has those files that were not UTF-8, `unreadable` those that were left out, with the reason.
    """

    def __init__(self) -> None:
        super().__init__()
        self.n_rejected = 0
        self.rejected: list[tuple[str, str]] = []
        self.encodings: dict[str, str] = {}
        self.unreadable: dict[str, str] = {}


def count_first(remarks: Counter[str], what: str, place: object) -> None:
    """Count one more `what`; the sentence keeps the first place it was met at."""
    beginning = what + _FIRST
    for known in remarks:
        if known.startswith(beginning):
            remarks[known] += 1
            return
    remarks[f"{beginning}{place})"] = 1


def documents(count: int) -> str:
    """`1 document`, `2 documents`."""
    return f"{count:,} document{'s' * (count != 1)}"


def counted(count: int, what: str) -> str:
    """A remark as people write it: `3 files left out`, but `1 file left out`."""
    return f"{count:,} {_ONE.sub(_SINGULAR, what, count=1) if count == 1 else what}"


def add_remarks(remarks: Counter[str], later: Mapping[str, int]) -> None:
    """Add what was remarked on later files; of a sentence with a first place, the earlier place stays."""
    for what, count in later.items():
        beginning, first, _ = what.partition(_FIRST)
        known = next((known for known in remarks if first and known.startswith(beginning + first)), what)
        remarks[known] += count


def reject_row(
    remarks: Counter[str], place: str, what: str, detail: str = "", way_out: str = "", *, on_bad_row: str = "stop"
) -> None:
    """A row that cannot be used: an error that names it (`stop`), or one more of those counted and shown (`skip`).

    `what` is the same for all rows with the same fault; `detail` is this row's own.
    """
    if on_bad_row == "stop":
        more = f"{way_out}; or leave such rows out, counted, with on_bad_row skip" if way_out else _SKIP
        raise GroundupError(f"{place}: {what}{detail}; {more}")
    count_first(remarks, f"rows rejected: {what}", place)
    if isinstance(remarks, Remarks):
        remarks.n_rejected += 1
        if len(remarks.rejected) < MOST_PLACES:
            remarks.rejected.append((place, what + detail))


_SKIP = "repair it, or leave such rows out, counted, with on_bad_row skip"
