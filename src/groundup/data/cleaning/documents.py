"""The documents of a corpus as cleaning sees them: numbered, bounded, and never stopped by one broken file.

The one idea: cleaning looks at text that nobody has looked at, so a file that cannot be read is a finding and no end.
Documents longer than 16 million characters come in parts, cut at a line end, so that memory stays bounded; that is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from groundup.core.errors import GroundupError
from groundup.data.reading import Reading, read_pieces
from groundup.data.sources import Source

LONGEST = 1 << 24  # characters


@dataclass(frozen=True)
class Document:
    """One document: `number` counts those of the corpus, `index` those of its `source`."""

    number: int
    source: str
    index: int
    text: str

    @property
    def id(self) -> str:
        return f"{self.source}#{self.index}"


@dataclass
class Corpus:
    """The sources, and what reading them brought to light: `unreadable` files, `remarks` on rows and parts."""

    sources: list[Source]
    reading: Reading
    unreadable: dict[str, str] = field(default_factory=dict)
    remarks: Counter[str] = field(default_factory=Counter)

    def documents(self, advance: Callable[[float], None] = lambda amount: None) -> Iterator[Document]:
        """Every document in order; `advance` is told the bytes of the files as they are read."""
        self.unreadable.clear()
        self.remarks.clear()
        number = 0
        for source in self.sources:
            told = index = 0
            parts: list[str] = []
            held = 0
            try:
                for text, ends in read_pieces(source, self.reading, self.remarks):
                    parts.append(text)
                    held += len(text)
                    if not ends and held > LONGEST:
                        whole = "".join(parts)
                        cut = whole.rfind("\n") + 1 or len(whole)
                        parts, held = [whole[cut:]], len(whole) - cut
                        whole = whole[:cut]
                        self.remarks["parts of documents longer than 16 million characters"] += 1
                    elif ends:
                        whole, parts, held = "".join(parts), [], 0
                    else:
                        continue
                    yield Document(number, str(source), index, whole)
                    number, index = number + 1, index + 1
                    now = min(told + len(whole), source.n_bytes)  # characters, or the file's size: never too far
                    advance(now - told)
                    told = now
            except GroundupError as error:
                self.unreadable[str(source)] = str(error)
            advance(source.n_bytes - told)
