"""Stop strings in text that arrives in pieces.

One idea: text is let go only when no stop string can begin in it any more. What is held back is the longest end of
the text that begins some stop string; so a stop that spans tokens is never shown in part, an overlap (`1,2` in
`1,1,2`) is not missed, and what the pieces are makes no difference.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Watches a text for the first of `stops` to be completed; of two completed by one character, the longer."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.met: str | None = None

    def push(self, text: str) -> str:
        """Take the next piece, give the text that is safe to show; after a stop (see `met`) nothing more comes."""
        if self.met is not None:
            return ""
        text = self._held + text
        ends = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            _, start, self.met = min(ends)
            self._held = ""
            return text[:start]
        self._held = self._possible_beginning(text)
        return text[: len(text) - len(self._held)]

    def flush(self) -> str:
        """The text still held back, when nothing follows it."""
        held, self._held = self._held, ""
        return held

    def _possible_beginning(self, text: str) -> str:
        """The longest end of `text` with which a stop string begins."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for start in range(max(0, len(text) - longest), len(text)):
            if any(stop.startswith(text[start:]) for stop in self._stops):
                return text[start:]
        return ""
