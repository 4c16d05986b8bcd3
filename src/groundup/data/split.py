"""The split: which text is kept for validation, and proof against it leaking into training.

One idea: the side of a document follows from its text, by a keyed hash of its beginning, never from its place. So
exact duplicates, in whatever files, fall on one side, and the same corpus gives the same split. Documents with the
smallest hashes are taken until the wanted share of the bytes is full; one too large for what is left is passed over.

Where there are few documents (under 10), or each alone is more than the share, every document is cut instead: its
tail, from the beginning of a line, is for validation. The survey that decides is one pass over the text in constant
memory.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from groundup.core.errors import GroundupError
from groundup.data.formats.text import HEAD_CHARACTERS
from groundup.data.reading import Piece, Reading, read_pieces
from groundup.data.remarks import counted
from groundup.data.sources import Source
from groundup.tokenization.special import SPECIAL_TOKENS

TRAIN, VALIDATION = 0, 1

DEFAULT_FRACTION = 0.1
DEFAULT_MOST_BYTES = 20_000_000  # more tells a loss no more exactly: its error is far below a thousandth by then

_FEWEST_DOCUMENTS = 10
_MOST_TO_CUT = 10_000
_SAYS_EOS = (
    f"times the text spells {SPECIAL_TOKENS.eos}, kept as ordinary text (between documents? then it is the separator)"
)
_BUCKET_BITS = 20  # documents are counted by the first bits of their hash: 8 MB, whatever the corpus
_N_BUCKETS = 1 << _BUCKET_BITS
_LINE_SEARCH = 1 << 16
_TELL_EVERY = 1 << 23

# (side, text, ends): `ends` says that end of text follows.
SidedPiece = tuple[int, str, bool]


@dataclass(frozen=True)
class Survey:
    """What one pass over the text found, and the split it led to.

    `by` is document, block or none. By document, `sides` holds one byte for each hash bucket. By block, `borders` says
    for each document at which character its tail begins.
    """

    n_documents: int
    n_bytes: int
    by: str
    seed: int
    sides: bytes = b""
    borders: tuple[int, ...] = ()


class Counts:
    """What was found in some sources: what a split is decided by. Those of later sources can be added."""

    def __init__(self) -> None:
        self.n_documents = 0
        self.bucket_bytes = np.zeros(_N_BUCKETS, np.int64)
        self.lengths: list[int] = []  # of documents in characters, while there are few

    @property
    def n_bytes(self) -> int:
        return int(self.bucket_bytes.sum())

    def add(self, n_documents: int, buckets: np.ndarray, sizes: np.ndarray, lengths: Sequence[int]) -> None:
        """Add what was counted elsewhere; `buckets` are those that are not empty, `sizes` their bytes."""
        self.n_documents += n_documents
        self.bucket_bytes[buckets] += sizes
        self.lengths += lengths[: _MOST_TO_CUT - len(self.lengths)]


def count(
    sources: Sequence[Source],
    reading: Reading,
    seed: int,
    remarks: Counter[str],
    advance: Callable[[int], None] = lambda n_bytes: None,
) -> Counts:
    """Read `sources` once and count; `advance` hears how many bytes of files were read."""
    counts = Counts()
    buckets, sizes = array("I"), array("Q")  # of the pieces since the last time they were added up
    n_characters, is_first, bucket = 0, True, 0
    bucket_of = hasher(seed)
    for source in sources:
        n_read = told = 0
        for text, ends in read_pieces(source, reading, remarks):
            if is_first:
                bucket = bucket_of(text)
            if SPECIAL_TOKENS.eos in text:
                remarks[_SAYS_EOS] += text.count(SPECIAL_TOKENS.eos)
            buckets.append(bucket)
            sizes.append(utf8_bytes(text))
            n_read += sizes[-1]
            if told + _TELL_EVERY <= n_read < source.n_bytes:
                advance(n_read - told)
                told = n_read
            n_characters += len(text)
            is_first = ends
            if ends:
                counts.n_documents += 1
                if counts.n_documents <= _MOST_TO_CUT:
                    counts.lengths.append(n_characters)
                n_characters = 0
                if len(buckets) >= 1 << 16:
                    _add_up(counts.bucket_bytes, buckets, sizes)
        advance(source.n_bytes - told)
    _add_up(counts.bucket_bytes, buckets, sizes)
    return counts


def check_fraction(fraction: float | None) -> None:
    """Refuse a share for validation that is none."""
    if fraction is not None and not 0 <= fraction < 1:
        raise GroundupError(f"validation_fraction is {fraction}; it must be at least 0 and less than 1")


def survey(
    sources: Sequence[Source],
    reading: Reading,
    *,
    fraction: float | None = None,
    seed: int = 0,
    remarks: Counter[str] | None = None,
    advance: Callable[[int], None] = lambda n_bytes: None,
) -> Survey:
    """Read everything once, count it and decide the split; `advance` hears how many bytes of files were read."""
    check_fraction(fraction)
    remarks = Counter() if remarks is None else remarks
    return decide(count(sources, reading, seed, remarks, advance), sources, reading, fraction, seed, remarks)


def decide(
    counts: Counts,
    sources: Sequence[Source],
    reading: Reading,
    fraction: float | None,
    seed: int,
    remarks: Counter[str],
) -> Survey:
    """The split that follows from what was counted in all `sources`."""
    n_documents, n_bytes = counts.n_documents, counts.n_bytes
    if n_documents == 0:
        why = "; ".join(counted(count, what) for what, count in sorted(remarks.items()))
        raise GroundupError(f"{', '.join(map(str, sources[:3]))}: no text in there{f' ({why})' if why else ''}")

    budget = n_bytes * (DEFAULT_FRACTION if fraction is None else fraction)
    if fraction is None:
        budget = min(budget, DEFAULT_MOST_BYTES)
    if budget == 0:
        return Survey(n_documents, n_bytes, "none", seed)
    if n_documents >= _FEWEST_DOCUMENTS:
        sides = _choose_buckets(counts.bucket_bytes, budget, fall_back=n_documents > _MOST_TO_CUT)
        if sides is not None:
            return Survey(n_documents, n_bytes, "document", seed, sides=sides)
    if n_documents > _MOST_TO_CUT:
        raise GroundupError(
            f"all {n_documents:,} documents are the same text, so none can be kept for validation; "
            "remove the copies, or pass validation_fraction 0"
        )
    borders = _find_borders(sources, reading, counts.lengths, budget / n_bytes)
    return Survey(n_documents, n_bytes, "block", seed, borders=borders)


def hasher(seed: int) -> Callable[[str], int]:
    """The function from a document's first piece to its bucket; `seed` is the key."""
    new, key = hashlib.blake2b, (seed % (1 << 64)).to_bytes(8, "little")

    def bucket_of(text: str) -> int:
        digest = new(text[:HEAD_CHARACTERS].encode(), digest_size=4, key=key).digest()
        return int.from_bytes(digest, "big") >> 32 - _BUCKET_BITS

    return bucket_of


def utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def assign(pieces: Iterable[Piece], found: Survey, first_document: int = 0) -> Iterator[SidedPiece]:
    """Give every piece its side; `pieces` are those of the documents the survey saw, in the same order, from number
    `first_document` on.

    A document cut by blocks: its head is closed by end of text only where another document's head follows, to keep
    the two apart; its tail is closed as the document was.
    """
    if found.by == "none":
        for text, ends in pieces:
            yield TRAIN, text, ends
    elif found.by == "document":
        bucket_of, sides, side, is_first = hasher(found.seed), found.sides, TRAIN, True
        for text, ends in pieces:
            if is_first:
                side = sides[bucket_of(text)]
            yield side, text, ends
            is_first = ends
    else:
        document, position = first_document, 0
        for text, ends in pieces:
            at = found.borders[document] - position
            if at > len(text) or (at == len(text) and ends):
                yield TRAIN, text, ends
            elif at <= 0:
                yield VALIDATION, text, ends
            else:
                yield TRAIN, text[:at], document + 1 < found.n_documents
                if at < len(text):
                    yield VALIDATION, text[at:], ends
            document, position = (document + 1, 0) if ends else (document, position + len(text))


def sided_pieces(
    sources: Sequence[Source],
    reading: Reading,
    found: Survey,
    remarks: Counter[str] | None = None,
    first_document: int = 0,
) -> Iterator[SidedPiece]:
    """Every piece of `sources` with its side; `first_document` is the number of their first among all.

    Raises `GroundupError` when a file is not what the survey read.
    """
    ignored = Counter() if remarks is None else remarks

    def pieces() -> Iterator[Piece]:
        for source in sources:
            check_unchanged(source)
            yield from read_pieces(source, reading, ignored)
            check_unchanged(source)

    return assign(pieces(), found, first_document)


def check_unchanged(source: Source) -> None:
    """Refuse a file that changed or went away while the corpus was read: half of it would be of another text."""
    if not source.is_unchanged():
        raise GroundupError(f"{source} changed while it was being read; run the command again when it is at rest")


def _add_up(bucket_bytes: np.ndarray, buckets: array, sizes: array) -> None:
    if buckets:
        np.add.at(bucket_bytes, np.array(buckets, np.int64), np.array(sizes, np.int64))
        del buckets[:], sizes[:]


def _choose_buckets(bucket_bytes: np.ndarray, budget: float, *, fall_back: bool) -> bytes | None:
    """One byte a bucket, 1 for validation; None when no bucket fits (then, with `fall_back`, the smallest)."""
    used = np.flatnonzero(bucket_bytes)
    sizes = bucket_bytes[used]
    smallest = int(sizes.min())
    left = budget + 1e-6 * budget  # ten equal documents at 0.1: one, whatever the rounding
    chosen = []
    for bucket, size in zip(used.tolist(), sizes.tolist(), strict=True):
        if size <= left:
            chosen.append(bucket)
            left -= size
        if left < smallest:
            break
    if not chosen and fall_back:
        chosen = [int(used[sizes.argmin()])]
    if not chosen or len(chosen) == len(used):
        return None
    sides = np.zeros(_N_BUCKETS, np.uint8)
    sides[chosen] = VALIDATION
    return sides.tobytes()


def _find_borders(
    sources: Sequence[Source], reading: Reading, lengths: Sequence[int], fraction: float
) -> tuple[int, ...]:
    """The character of each document at which its tail begins; its length when it is too short to be cut."""
    borders: list[int] = []
    position, before, wanted, most_back = 0, "", 0, 0  # `before` is text that ends at `position`
    for source in sources:
        for text, ends in read_pieces(source, reading, Counter()):
            if position == 0:
                length = lengths[len(borders)]
                wanted = max(1, round(length * (1 - fraction)))
                most_back = (length - wanted) // 2  # a tail may grow by half, no more
            if position < wanted <= position + len(text):
                near = before + text[: wanted - position]
                borders.append(wanted - _back_to_a_line(near, most_back))
            position, before = (0, "") if ends else (position + len(text), (before + text)[-_LINE_SEARCH:])
        check_unchanged(source)
    return tuple(borders)


def _back_to_a_line(text: str, most: int) -> int:
    """How many characters before the end of `text` its last line begins; its last word, if no line begins that near."""
    near = text[max(len(text) - most, 1) :] if most else ""
    return next((len(near) - near.rindex(mark) - 1 for mark in ("\n", " ") if mark in near), 0)
