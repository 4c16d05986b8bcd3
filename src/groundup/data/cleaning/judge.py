"""The verdict on one document: what is done to it, and which rules it breaks.

The one idea: the verdict depends on the text, the settings and the findings of the survey, and on nothing else; so any
number of processes may judge, and the outcome is the same. `clean` makes its edits first, in the order repair, hidden,
boilerplate, privacy, C4's lines, and judges what is left. `inspect` only repairs, counts what the other edits would
change, and judges the text as it stands: each rule by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groundup.data.cleaning import figures, hidden, lines, privacy
from groundup.data.cleaning.figures import Measured
from groundup.data.cleaning.language import identifier
from groundup.data.cleaning.reference import FEWEST_CHARACTERS, WINDOW
from groundup.data.cleaning.repair import repairer
from groundup.data.cleaning.repetition import repetition
from groundup.data.cleaning.rules import COMPARED
from groundup.data.cleaning.settings import CleanConfig
from groundup.data.cleaning.survey import load_findings

_FEWEST_GIBBERISH = 3 * WINDOW

# A word, in the sense of a trigger, and how far around the beginning of gibberish it is looked for.
_LONGEST_WORD, _BEFORE = 60, 400


@dataclass
class Verdict:
    """What was found: `text` as it is now, `failed` is (rule, figure), `edits` edit -> how often, `taken` edit -> one example."""

    text: str
    failed: list[tuple[str, float]] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)
    edits: dict[str, int] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)
    taken_bytes: dict[str, int] = field(default_factory=dict)
    private: dict[str, int] = field(default_factory=dict)
    hidden: dict[str, int] = field(default_factory=dict)
    spelt_out: dict[str, str] = field(default_factory=dict)
    language: str | None = None
    score: float | None = None
    gibberish_at: int = 0
    before_gibberish: list[str] = field(default_factory=list)
    excerpt: str = ""

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value or name == "text"}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Verdict:
        verdict = cls(**values)
        verdict.failed = [(name, figure) for name, figure in verdict.failed]
        return verdict


class Judge:
    """Judges documents by `settings`, with what a survey left in `findings`; `is_final` makes the edits, as clean does."""

    def __init__(self, settings: CleanConfig, findings: Path, is_final: bool) -> None:
        self._settings = settings
        self._groups = groups = settings.groups
        self._is_final = is_final
        self._rules = [rule for rule in settings.active.values() if rule.group not in COMPARED]
        self._frequent, self._reference = load_findings(findings)
        self._repair = repairer() if "repair" in groups else None
        self._identify = identifier(settings.language) if "language" in groups else None
        self._find = privacy.finder(settings.phone_regions)
        self._c4: tuple[str, tuple[str, list[str]]] | None = None

    def __call__(self, text: str) -> Verdict:
        verdict = Verdict(text)
        text = self._edited(text, verdict)
        measures = self._figures(text, verdict)
        for rule in self._rules:
            figure = measures.get(rule.name)
            if figure is None:
                verdict.unmeasured.append(rule.name)
            elif not rule.allows(figure):
                verdict.failed.append((rule.name, round(figure, 4)))
        if verdict.failed:
            is_gibberish = any(rule == "gibberish" for rule, _ in verdict.failed)
            verdict.excerpt = privacy.excerpt(text, self._find, verdict.gibberish_at if is_gibberish else 0)
        if "perplexity" in measures:
            verdict.score = round(measures["perplexity"], 4)
        verdict.text = text
        return verdict

    def _edited(self, text: str, verdict: Verdict) -> str:
        if self._repair is not None:
            text, done = self._repair(text)
            verdict.edits.update(dict.fromkeys(done, 1))
        if "hidden" in self._groups:
            text = self._show_hidden(text, verdict)
        if "boilerplate" in self._groups and len(self._frequent):
            text = self._take_lines(text, "boilerplate", lambda: lines.without_lines(text, self._frequent), verdict)
        if "privacy" in self._groups:
            text = self._mask(text, verdict)
        if "c4_lines" in self._groups:
            text = self._take_lines(text, "c4_lines", lambda: self._as_c4_keeps(text), verdict)
        return text

    def _as_c4_keeps(self, text: str) -> tuple[str, list[str]]:
        """C4's line rules on `text`; the last answer is kept, for the edit and the rule on sentences ask for the same."""
        if self._c4 is None or self._c4[0] is not text:
            self._c4 = (text, lines.as_c4_keeps(Measured(text)))
        return self._c4[1]

    def _show_hidden(self, text: str, verdict: Verdict) -> str:
        finds = hidden.find_hidden(text)
        for kind, start, end in finds:
            verdict.hidden[kind] = verdict.hidden.get(kind, 0) + 1
            if kind not in verdict.spelt_out:
                found = text[start:end]
                verdict.spelt_out[kind] = found if kind == "homoglyph" else hidden.spelt_out(found)
        if finds and self._is_final and self._settings.hidden == "strip":
            stripped = hidden.strip_hidden(text, finds)
            if stripped != text:
                verdict.edits["hidden"] = len(text) - len(stripped)
            return stripped
        return text

    def _take_lines(self, text: str, edit: str, take: Callable[[], tuple[str, list[str]]], verdict: Verdict) -> str:
        left, taken = take()
        if not taken:
            return text
        verdict.edits[edit] = len(taken)
        verdict.taken_bytes[edit] = lines.total_bytes(taken)
        verdict.taken[edit] = privacy.excerpt(max(taken[:20], key=len), self._find)
        return left if self._is_final else text

    def _mask(self, text: str, verdict: Verdict) -> str:
        finds = self._find(text)
        verdict.private.update(Counter(kind for kind, _, _ in finds))
        if not self._is_final:
            return text
        masked = [find for find in finds if self._settings.actions[find[0]] == "mask"]
        verdict.edits.update(Counter(f"masked_{kind}" for kind, _, _ in masked))
        return privacy.mask(text, masked)

    def _figures(self, text: str, verdict: Verdict) -> dict[str, float]:
        groups, measured = self._groups, Measured(text)
        found: dict[str, float] = {"characters": sum(map(len, measured.words))}
        if "gopher_quality" in groups:
            found |= figures.quality(measured)
        if "gopher_repetition" in groups:
            found |= repetition(measured)
        if "fineweb" in groups:
            found |= figures.line_shares(measured)
        if "symbols" in groups:
            found |= figures.signs(measured)
        if "c4" in groups:
            found |= figures.c4_page(measured, self._as_c4_keeps(text)[0])
        if "block" in groups:
            found["blocked"] = sum(map(text.count, self._settings.block))
        if "privacy" in groups:
            dropped = [kind for kind, action in self._settings.actions.items() if action == "drop"]
            found["personal_data"] = sum(verdict.private.get(kind, 0) for kind in dropped)
        if "hidden" in groups and self._settings.hidden == "drop":
            found["hidden_characters"] = sum(verdict.hidden.values())
        if self._identify is not None:
            found |= self._language(text, verdict)
        if "stop_words" in found and not self._is_english(text, verdict):
            del found["stop_words"]
        if self._reference is not None and {"perplexity", "gibberish"} & groups:
            found |= self._readability(text, verdict)
        return found

    def _language(self, text: str, verdict: Verdict) -> dict[str, float]:
        assert self._identify is not None
        answer = self._identify(text)
        if answer is None:
            return {}
        verdict.language = answer[0]
        wanted = self._settings.language
        if not wanted:
            return {"language_score": answer[1]}
        return {"language_is": float(answer[0] in wanted), "language_score": answer[1]}

    def _is_english(self, text: str, verdict: Verdict) -> bool:
        """By the library where languages are told anyway; else by the script, which spares what cannot be English."""
        if verdict.language is not None:
            return verdict.language == "en"
        return text.isascii()

    def _readability(self, text: str, verdict: Verdict) -> dict[str, float]:
        assert self._reference is not None
        if len(text) < FEWEST_CHARACTERS:
            return {}
        bits = self._reference.bits(text)
        start, length = self._reference.gibberish(bits)
        verdict.gibberish_at = start
        if length >= _FEWEST_GIBBERISH:
            verdict.before_gibberish = self._words_before(text, start)
        return {"perplexity": self._reference.score(bits), "gibberish": length}

    def _words_before(self, text: str, start: int) -> list[str]:
        """The words around the place where gibberish begins, but for those that are personal data.

        None where it begins with the document: with nothing readable before it there is no sudden turn (a document in
        another language is such a one).
        """
        if not start:
            return []
        first = max(0, start - privacy.LOOKED_AT)
        region = text[first : start + privacy.LOOKED_AT]
        for _, begin, end in self._find(region):
            region = region[:begin] + " " * (end - begin) + region[end:]
        around = region[max(0, start - first - _BEFORE) : start - first + WINDOW].split()
        return sorted({word for word in around if len(word) <= _LONGEST_WORD})
