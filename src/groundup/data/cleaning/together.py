"""What only the other documents, or an evaluation set, can tell about one: duplicates and leaks.

The one idea: documents come in order, and the first of equals stays. So this runs in one process, after the judging,
on whatever is still in. Of each document that may be named as "the earlier one" eight bytes are remembered.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from groundup.data.cleaning.documents import Document
from groundup.data.cleaning.judge import Verdict
from groundup.data.cleaning.settings import CleanConfig

_BATCH_CHARACTERS = 1 << 21
_BATCH_DOCUMENTS = 1 << 12
_SHOWN_LEAKS = 3


@dataclass
class Item:
    """A document on its way: `reasons` it should be removed, each with `rule`, `figure` and what else is known."""

    document: Document
    verdict: Verdict
    reasons: list[dict[str, Any]] = field(default_factory=list)
    start: int = 0  # where the excerpt should begin


class Comparison:
    """Compares documents with earlier ones and with evaluation sets, as the groups that are on ask for."""

    def __init__(self, settings: CleanConfig, sources: Sequence[str], is_final: bool) -> None:
        groups = settings.groups
        self._is_final = is_final
        self._sources = list(sources)
        self._source_numbers = {name: number for number, name in enumerate(self._sources)}
        self.remarks: Counter[str] = Counter()
        self._exact = self._near = self._evaluation = None
        self._of_exact, self._of_near = array("Q"), array("Q")
        if "exact" in groups:
            from groundup.data.duplicates.exact import ExactDuplicates

            self._exact = ExactDuplicates()
        if "near" in groups:
            from groundup.data.duplicates.near import NearDuplicates, NearSettings

            self._near = NearDuplicates(NearSettings(threshold=settings.near_threshold))
        if "contamination" in groups and settings.against:
            from groundup.data.duplicates.contamination import EvaluationIndex

            self._evaluation = EvaluationIndex.from_paths(settings.against)
            if self._evaluation.n_too_short:
                self.remarks["evaluation items too short to be looked for"] = self._evaluation.n_too_short
            if self._evaluation.n_common:
                self.remarks["runs of words that more than ten evaluation items share, left out"] = (
                    self._evaluation.n_common
                )

    def compared(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items, in order, with the reasons found here."""
        batch: list[Item] = []
        held = 0
        for item in items:
            batch.append(item)
            held += len(item.verdict.text)
            if held >= _BATCH_CHARACTERS or len(batch) >= _BATCH_DOCUMENTS:
                self._compare(batch)
                yield from batch
                batch, held = [], 0
        self._compare(batch)
        yield from batch

    def _compare(self, batch: list[Item]) -> None:
        items = [item for item in batch if not (self._is_final and item.reasons)]
        if self._evaluation is not None and items:
            for item, leaks in zip(
                items, self._evaluation.matches_many([item.verdict.text for item in items]), strict=True
            ):
                if leaks:
                    item.start = leaks[0].start
                    places = list(dict.fromkeys(f"{leak.name}#{leak.index}" for leak in leaks))
                    shown = ", ".join(places[:_SHOWN_LEAKS])
                    item.reasons.append({"rule": "contamination", "figure": len(leaks), "of": shown})
            items = [item for item in items if not (self._is_final and item.reasons)]
        if self._exact is not None:
            # By the text without blanks at its ends: a line end more is no other document.
            firsts = [self._exact.first_of(item.verdict.text.strip()) for item in items]
            self._of_exact.extend(map(self._place, items))
            for item, first in zip(items, firsts, strict=True):
                if first is not None:
                    item.reasons.append({"rule": "exact_duplicate", "figure": 1, "of": self._id(self._of_exact[first])})
            items = [item for item, first in zip(items, firsts, strict=True) if first is None]
        if self._near is not None and items:
            found = self._near.first_of_many([item.verdict.text for item in items])
            self._of_near.extend(map(self._place, items))
            for item, near in zip(items, found, strict=True):
                if near is not None:
                    item.reasons.append(
                        {
                            "rule": "near_duplicate",
                            "figure": round(near.similarity, 4),
                            "of": self._id(self._of_near[near.of]),
                        }
                    )

    def _place(self, item: Item) -> int:
        return self._source_numbers[item.document.source] << 40 | item.document.index

    def _id(self, place: int) -> str:
        return f"{self._sources[place >> 40]}#{place & ((1 << 40) - 1)}"
