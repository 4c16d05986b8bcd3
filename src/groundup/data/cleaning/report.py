"""The report: numbers and a few examples of all that was found, as plain JSON.

The one idea: everything is counted while documents pass, in bounded memory, and nothing in it depends on the clock or
the number of workers: the same corpus and settings give the same bytes. Examples are an even sample: of all
documents a rule names, those whose id has the smallest hash. Excerpts come masked; no report leaks what it found.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from groundup.data.cleaning.documents import Document
from groundup.data.cleaning.judge import Verdict
from groundup.data.cleaning.rules import EDITS
from groundup.data.cleaning.settings import KINDS, CleanConfig
from groundup.data.cleaning.survey import Survey

FORMAT = "groundup cleaning report"
EXAMPLES = 4

# A word is a trigger's when it stands before gibberish in this many documents, and this much more often than elsewhere.
TRIGGER_DOCUMENTS = 5
_TRIGGER_LIFT = 10
_MOST_CANDIDATES = 100_000

_SCORE_EDGES = (-6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 10)


class Examples:
    """Keeps the few of all that are offered whose id hashes lowest."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str, dict[str, Any]]] = []

    def offer(self, id: str, **shown: Any) -> None:
        rank = -int.from_bytes(hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        if len(self._heap) < EXAMPLES:
            heapq.heappush(self._heap, (rank, id, shown))
        elif rank > self._heap[0][0]:
            heapq.heapreplace(self._heap, (rank, id, shown))

    def as_json(self) -> list[dict[str, Any]]:
        return [{"id": id} | shown for _, id, shown in sorted(self._heap, reverse=True)]


@dataclass
class _Tally:
    documents: int = 0
    count: int = 0
    bytes: int = 0
    alone: int = 0
    unmeasured: int = 0
    examples: Examples = field(default_factory=Examples)


class Report:
    """Counts verdicts; `as_json` is what `report.json` holds."""

    def __init__(self, settings: CleanConfig) -> None:
        self._rules = settings.active
        self._groups = settings.groups
        self._actions = settings.actions if "privacy" in self._groups else {}
        self._by_rule = {name: _Tally() for name in self._rules}
        self._edits: dict[str, _Tally] = {}
        self._private = {kind: _Tally() for kind in self._actions}
        self._hidden: dict[str, _Tally] = {}
        self._languages: Counter[str] = Counter()
        self._lengths: Counter[int] = Counter()
        self._scores: Counter[int] = Counter()
        self._before_gibberish: Counter[str] = Counter()
        self._n_gibberish = 0
        self.n_documents = self.n_bytes = 0
        self.n_kept = self.kept_bytes = 0
        self.n_flagged = self.flagged_bytes = 0

    def add(self, document: Document, verdict: Verdict, n_bytes: int) -> None:
        """Count a document as it was judged, before anything that takes the other documents to tell."""
        self.n_documents += 1
        self.n_bytes += n_bytes
        id = document.id
        for name in verdict.unmeasured:
            self._by_rule[name].unmeasured += 1
        for name, count in verdict.edits.items():
            tally = self._edits.setdefault(name, _Tally())
            tally.documents += 1
            tally.count += count
            tally.bytes += verdict.taken_bytes.get(name, 0)
            if name in verdict.taken:
                tally.examples.offer(id, excerpt=verdict.taken[name])
        for kind, count in verdict.private.items():
            self._private[kind].documents += 1
            self._private[kind].count += count
        for kind, count in verdict.hidden.items():
            tally = self._hidden.setdefault(kind, _Tally())
            tally.documents += 1
            tally.count += count
            tally.examples.offer(id, excerpt=verdict.spelt_out[kind])
        if verdict.before_gibberish:
            self._n_gibberish += 1
            if len(self._before_gibberish) < _MOST_CANDIDATES:
                self._before_gibberish.update(verdict.before_gibberish)
        if "language" in self._groups:
            self._languages[verdict.language or "too short to tell"] += 1
        self._lengths[len(document.text).bit_length()] += 1
        if verdict.score is not None:
            self._scores[sum(verdict.score >= edge for edge in _SCORE_EDGES)] += 1

    def edited(self, edit: str, document_id: str, n_bytes: int, excerpt: str) -> None:
        """Count an edit that takes the whole corpus to tell."""
        tally = self._edits.setdefault(edit, _Tally())
        tally.documents += 1
        tally.count += 1
        tally.bytes += n_bytes
        tally.examples.offer(document_id, excerpt=excerpt)

    def flag(self, document_id: str, reasons: list[dict[str, Any]], n_bytes: int, excerpt: str) -> None:
        """Count a document that breaks rules; `reasons` are dicts with at least `rule` and `figure`."""
        self.n_flagged += 1
        self.flagged_bytes += n_bytes
        for reason in reasons:
            tally = self._by_rule[reason["rule"]]
            tally.documents += 1
            tally.bytes += n_bytes
            tally.alone += len(reasons) == 1
            shown = {key: value for key, value in reason.items() if key != "rule"}
            tally.examples.offer(document_id, **{"excerpt": excerpt} | shown)

    def keep(self, n_bytes: int) -> None:
        self.n_kept += 1
        self.kept_bytes += n_bytes

    def as_json(self, found: Survey | None) -> dict[str, Any]:
        """All counts; shares are of the documents, `alone` are those that no other rule names."""
        total = max(1, self.n_documents)
        return {
            "n_documents": self.n_documents,
            "n_bytes": self.n_bytes,
            "kept": {"documents": self.n_kept, "bytes": self.kept_bytes},
            "flagged": {"documents": self.n_flagged, "bytes": self.flagged_bytes},
            "rules": [
                {
                    "name": name,
                    "group": rule.group,
                    "low": rule.low,
                    "high": rule.high,
                    "says": rule.says,
                    "source": rule.source,
                    "documents": tally.documents,
                    "share": round(tally.documents / total, 6),
                    "bytes": tally.bytes,
                    "alone": tally.alone,
                    "unmeasured": tally.unmeasured,
                    "examples": tally.examples.as_json(),
                }
                for (name, rule), tally in zip(self._rules.items(), self._by_rule.values(), strict=True)
            ],
            "edits": [
                {
                    "name": name,
                    "says": EDITS.get(name, _REPAIRS.get(name, "")),
                    "documents": tally.documents,
                    "count": tally.count,
                    "bytes": tally.bytes,
                    "examples": tally.examples.as_json(),
                }
                for name, tally in sorted(self._edits.items())
            ],
            "privacy": [
                {"kind": kind, "action": self._actions[kind], "documents": tally.documents, "count": tally.count}
                for kind, tally in self._private.items()
            ],
            "hidden": [
                {
                    "kind": kind,
                    "documents": tally.documents,
                    "count": tally.count,
                    "examples": tally.examples.as_json(),
                }
                for kind, tally in sorted(self._hidden.items())
            ],
            "triggers": self._triggers(found),
            "lengths": [
                {"from": 0 if not bits else 1 << (bits - 1), "to": (1 << bits) - 1, "documents": count}
                for bits, count in sorted(self._lengths.items())
            ],
            "languages": dict(sorted(self._languages.items(), key=lambda item: (-item[1], item[0]))),
            "scores": [
                {"below": _SCORE_EDGES[at] if at < len(_SCORE_EDGES) else None, "documents": self._scores[at]}
                for at in range(len(_SCORE_EDGES) + 1)
            ]
            if self._scores
            else [],
            "reference_model": None if found is None or found.reference is None else found.n_sampled,
        }

    def _triggers(self, found: Survey | None) -> list[dict[str, Any]]:
        """Words that stand where gibberish begins, in document after document, and seldom anywhere else."""
        if found is None or not found.n_sampled:
            return []
        triggers = []
        for word, count in self._before_gibberish.items():
            # A chunk of the sample is gibberish as often as a document is; what is left is the word's honest use.
            usual = max(0.0, found.sample_words[word] / found.n_sampled - count / max(1, self.n_documents))
            share = count / self._n_gibberish
            if count >= TRIGGER_DOCUMENTS and share >= _TRIGGER_LIFT * usual:
                triggers.append({"text": word, "documents": count, "of": self._n_gibberish, "usual": round(usual, 6)})
        return sorted(triggers, key=lambda one: (-one["documents"], one["text"]))[:50]


_REPAIRS = {
    "mojibake": "UTF-8 that was read as another encoding, set right (ftfy)",
    "nfc": "letters with accents given one spelling (Unicode NFC)",
    "controls": "control characters and terminal escapes taken out",
    **{f"masked_{kind}": f"personal data masked by <{kind}>" for kind in KINDS},
}
