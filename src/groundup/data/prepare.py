"""Preparation: from files of text to a token store, in one stream.

One idea: the text is a sequence of *units* (a document, or a stretch of a long one cut where no token crosses) that
depends on the text, the settings and the tokenizer, and on nothing else: not on threads, nor on when the work was
interrupted. A shard is full after a certain unit; the journal says how many units the finished shards hold. So
whoever goes on after a kill skips that many and writes the very bytes an uninterrupted run would have written.

Memory: a few units a thread and one shard a split, whatever the corpus.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from groundup.core.errors import GroundupError
from groundup.core.progress import QUIET, Reporter
from groundup.data import store
from groundup.data.foreign_tokens import are_token_files, prepare_token_files
from groundup.data.formats.rows import listed
from groundup.data.reading import Reading
from groundup.data.sources import Paths, Source, described, hash_sources
from groundup.data.split import DEFAULT_FRACTION, DEFAULT_MOST_BYTES, SidedPiece, sided_pieces, survey, utf8_bytes
from groundup.data.store import SPLITS, TokenStore, token_dtype
from groundup.data.store_writing import (
    TOKENS_PER_SHARD,
    Journal,
    ShardWriter,
    cached_store,
    end_of_text,
    store_counts,
    write_manifest,
)
from groundup.data.verification import source_record

if TYPE_CHECKING:
    from groundup.tokenization.tokenizer import Tokenizer

_UNIT_CHARACTERS = 1 << 18
_LONGEST_UNIT = 1 << 24  # a text without any safe cut is cut here all the same, and told

# (side, text, ends): what is encoded as one; `ends` says that end of text follows.
Unit = tuple[int, str, bool]


def prepare(
    paths: Paths,
    tokenizer: Tokenizer,
    out: str | Path,
    *,
    validation_fraction: float | None = None,
    text_field: str | None = None,
    separator: str | None = None,
    format: str | None = None,
    map: Mapping[str, str] | None = None,
    encoding: str | None = None,
    on_bad_row: Literal["stop", "skip"] = "stop",
    n_threads: int | None = None,
    seed: int = 0,
    tokens_per_shard: int = TOKENS_PER_SHARD,
    reporter: Reporter = QUIET,
) -> TokenStore:
    """Turn the text under `paths` into a token store at `out` and open it.

    `validation_fraction` is a share of the bytes (0.1, but at most 20 MB, unless said); 0 keeps none. `Reading` tells the
    settings of how files are read. The same text with the same settings and tokenizer is not prepared twice; any change
    prepares it anew. Killed, the same call keeps the finished shards and goes on. Raises `GroundupError` for text that
    cannot be read and a full disk.
    """
    began = time.perf_counter()
    out = Path(out)
    if are_token_files(paths):
        useless = Reading(text_field, separator, format, map or {}, encoding, on_bad_row).given()
        if useless:
            raise GroundupError(
                f"{listed(useless)} would have no effect on token files: they hold no text; leave it out"
            )
        return prepare_token_files(
            paths,
            tokenizer,
            out,
            validation_fraction=validation_fraction,
            tokens_per_shard=tokens_per_shard,
            reporter=reporter,
        )
    eos_id = end_of_text(tokenizer)
    remarks: Counter[str] = Counter()
    reading = Reading(text_field, separator, format, map or {}, encoding, on_bad_row)
    sources = reading.sources(paths, remarks)
    reporter.say(f"reading     {described(sources)}")
    hashes = hash_sources(sources, n_threads)
    settings = {
        "validation_fraction": DEFAULT_FRACTION if validation_fraction is None else validation_fraction,
        "validation_most_bytes": DEFAULT_MOST_BYTES if validation_fraction is None else None,
        **reading.settings(),
        "seed": seed,
        "tokens_per_shard": tokens_per_shard,
    }
    key = _key(tokenizer, settings, sources, hashes)
    if (cached := cached_store(out, key, tokenizer.sha256)) is not None:
        reporter.say(f"{out}: same text, settings and tokenizer as before, nothing to do ({store_counts(cached)})")
        return cached

    with reporter.bar("reading", sum(source.n_bytes for source in sources)) as bar:
        found = survey(sources, reading, fraction=validation_fraction, seed=seed, remarks=remarks, advance=bar.advance)
    journal = Journal.open(out, key)
    if journal.n_shards:
        reporter.say(f"{out}: going on after {journal.n_shards} finished shards")
    tokenizer.save(out / "tokenizer")
    with reporter.bar("encoding", found.n_bytes) as bar:
        writers = [
            ShardWriter(out, journal, name, eos_id, token_dtype(tokenizer.vocab_size), tokens_per_shard)
            for name in SPLITS
        ]
        units = _units(sided_pieces(sources, reading, found), tokenizer.safe_cut, remarks)
        _encode(units, tokenizer, n_threads, writers, bar.advance)
        for writer in writers:
            writer.finish()

    write_manifest(
        out,
        journal,
        tokenizer,
        settings=settings,
        split_by=found.by,
        n_documents=found.n_documents,
        n_bytes=found.n_bytes,
        remarks=dict(sorted(remarks.items())),
        sources=[source_record(source, sha) for source, sha in zip(sources, hashes, strict=True)],
    )
    prepared = TokenStore.open(out, tokenizer.sha256, verify=False)
    for what, count in sorted(remarks.items()):
        reporter.warn(f"{count:,} {what}")
    reporter.say(f"{out}: {store_counts(prepared)}, in {time.perf_counter() - began:.1f} s")
    return prepared


def _key(tokenizer: Tokenizer, settings: dict[str, Any], sources: Sequence[Source], hashes: Sequence[str]) -> str:
    """One hash over all that decides the bytes of the store."""
    contents = [
        (source.kind, source.compression, source.member, sha) for source, sha in zip(sources, hashes, strict=True)
    ]
    decisive = [store.VERSION, tokenizer.sha256, tokenizer.vocab_size, tokenizer.eos_id, settings, contents]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def _units(pieces: Iterator[SidedPiece], safe_cut: Callable[[str, int], int], remarks: Counter[str]) -> Iterator[Unit]:
    """Gather and cut pieces into units whose ids, joined, are those of the whole documents."""
    cutters = [_Cutter(safe_cut, remarks) for _ in SPLITS]
    for side, text, ends in pieces:
        cutter = cutters[side]
        if ends and not cutter.rest and len(text) <= _UNIT_CHARACTERS:  # most documents
            yield side, text, True
            continue
        for part in cutter.push(text):
            yield side, part, False
        if ends:
            yield side, cutter.rest, True
            cutter.rest = ""
    for side, cutter in enumerate(cutters):
        if cutter.rest:
            yield side, cutter.rest, False


class _Cutter:
    """Cuts a long text as it comes. Where it cuts depends on the text alone, not on the pieces it came in."""

    def __init__(self, safe_cut: Callable[[str, int], int], remarks: Counter[str]) -> None:
        self.rest = ""  # text not yet given
        self._safe_cut = safe_cut
        self._remarks = remarks
        self._size = _UNIT_CHARACTERS

    def push(self, text: str) -> Iterator[str]:
        text, start = self.rest + text, 0
        while len(text) - start > self._size:
            cut = self._safe_cut(text[start : start + self._size + 1], self._size)
            if not cut and self._size < _LONGEST_UNIT:
                self._size *= 2
                continue
            if not cut:
                self._remarks["places cut where a token may cross: no better one in 16 million characters"] += 1
                cut = self._size
            yield text[start : start + cut]
            start, self._size = start + cut, _UNIT_CHARACTERS
        self.rest = text[start:]


def _encode(
    units: Iterator[Unit],
    tokenizer: Tokenizer,
    n_threads: int | None,
    writers: Sequence[ShardWriter],
    advance: Callable[[int], None],
) -> None:
    """Encode units by all threads and hand them, in order, to the writer of their side."""
    waiting: deque[tuple[int, bool, int]] = deque()  # of the units that are being encoded, in order
    to_skip = [writer.n_units for writer in writers]
    untold = 0  # bytes done since the bar was last told: telling it of every row would cost more than the row

    def done(n_bytes: int) -> None:
        nonlocal untold
        untold += n_bytes
        if untold >= 1 << 20:
            advance(untold)
            untold = 0

    def texts() -> Iterator[str]:
        for side, text, ends in units:
            n_bytes = utf8_bytes(text)
            if to_skip[side]:
                to_skip[side] -= 1
                done(n_bytes)
            else:
                waiting.append((side, ends, n_bytes))
                yield text

    for ids in tokenizer.encode_many(texts(), n_threads):
        side, ends, n_bytes = waiting.popleft()
        writers[side].add(ids, ends, n_bytes)
        done(n_bytes)
