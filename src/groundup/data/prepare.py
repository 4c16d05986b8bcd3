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
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from groundup.core.errors import GroundupError
from groundup.core.files import clear_write_errors, read_json, readable_bytes, write_json
from groundup.core.progress import QUIET, Reporter
from groundup.data import store
from groundup.data.reading import Reading
from groundup.data.sources import Paths, Source, hash_sources, list_sources
from groundup.data.split import DEFAULT_FRACTION, DEFAULT_MOST_BYTES, SidedPiece, sided_pieces, survey, utf8_bytes
from groundup.data.store import JOURNAL, MANIFEST, SPLITS, ShardRecord, TokenStore, token_dtype, write_shard

if TYPE_CHECKING:
    from groundup.tokenization.tokenizer import Tokenizer

TOKENS_PER_SHARD = 1 << 24  # 32 MB of u16, about 60 MB of text: what a kill can cost is a few seconds of work

_UNIT_CHARACTERS = 1 << 18
_LONGEST_UNIT = 1 << 24  # a text without any safe cut is cut here all the same, and told

# What a stopped run can leave behind; nothing else in the folder is touched.
_OURS = (
    "train-*.tokens",
    "validation-*.tokens",
    ".*.tokens.*.partial",
    ".*.json.*.partial",
    "tokenizer/.*.json.*.partial",
)

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
    n_threads: int | None = None,
    seed: int = 0,
    tokens_per_shard: int = TOKENS_PER_SHARD,
    reporter: Reporter = QUIET,
) -> TokenStore:
    """Turn the text under `paths` into a token store at `out` and open it.

    `validation_fraction` is a share of the bytes (0.1, but at most 20 MB, unless said); 0 keeps none. The same text
    with the same settings and tokenizer is not prepared twice; any change prepares it anew. Killed, the same call
    keeps the finished shards and goes on. Raises `GroundupError` for text that cannot be read and a full disk.
    """
    began = time.perf_counter()
    out = Path(out)
    if tokenizer.eos_id is None:
        raise GroundupError(
            "this tokenizer has no end of text token, so documents could not be told apart; train one with "
            "`groundup tokenizer train`, or name its end of text token in tokenizer_config.json as eos_token"
        )
    remarks: Counter[str] = Counter()
    sources, reading = list_sources(paths, remarks), Reading(text_field, separator)
    reading.check(sources)
    hashes = hash_sources(sources, n_threads)
    settings = {
        "validation_fraction": DEFAULT_FRACTION if validation_fraction is None else validation_fraction,
        "validation_most_bytes": DEFAULT_MOST_BYTES if validation_fraction is None else None,
        "text_field": reading.field,
        "separator": separator,
        "seed": seed,
        "tokens_per_shard": tokens_per_shard,
    }
    key = _key(tokenizer, settings, sources, hashes)
    if (cached := _cached(out, key, tokenizer.sha256)) is not None:
        reporter.say(f"{out}: same text, settings and tokenizer as before, nothing to do ({_counts(cached)})")
        return cached

    with reporter.bar("reading", sum(source.n_bytes for source in sources)) as bar:
        found = survey(sources, reading, fraction=validation_fraction, seed=seed, remarks=remarks, advance=bar.advance)
    journal = _Journal.open(out, key)
    if journal.n_shards:
        reporter.say(f"{out}: going on after {journal.n_shards} finished shards")
    tokenizer.save(out / "tokenizer")
    with reporter.bar("encoding", found.n_bytes) as bar:
        writers = [
            _ShardWriter(out, journal, name, tokenizer.eos_id, token_dtype(tokenizer.vocab_size), tokens_per_shard)
            for name in SPLITS
        ]
        units = _units(sided_pieces(sources, reading, found), tokenizer.safe_cut, remarks)
        _encode(units, tokenizer, n_threads, writers, bar.advance)
        for writer in writers:
            writer.finish()

    write_json(
        out / MANIFEST,
        {
            "format": store.FORMAT,
            "version": store.VERSION,
            "key": key,
            "tokenizer": {
                "sha256": tokenizer.sha256,
                "algorithm": tokenizer.algorithm,
                "vocab_size": tokenizer.vocab_size,
                "eos_id": tokenizer.eos_id,
            },
            "settings": settings,
            "split_by": found.by,
            "n_documents": found.n_documents,
            "n_bytes": found.n_bytes,
            "remarks": dict(sorted(remarks.items())),
            "splits": {name: _summary(journal.splits[name]) for name in SPLITS},
            "sources": [
                {"path": str(source.path), "kind": source.kind, "n_bytes": source.n_bytes, "sha256": sha}
                for source, sha in zip(sources, hashes, strict=True)
            ],
        },
    )
    (out / JOURNAL).unlink()
    prepared = TokenStore.open(out, tokenizer.sha256, verify=False)
    for what, count in sorted(remarks.items()):
        reporter.warn(f"{count:,} {what}")
    reporter.say(f"{out}: {_counts(prepared)}, in {time.perf_counter() - began:.1f} s")
    return prepared


def _key(tokenizer: Tokenizer, settings: dict[str, Any], sources: Sequence[Source], hashes: Sequence[str]) -> str:
    """One hash over all that decides the bytes of the store."""
    contents = [(source.kind, source.is_gzip, sha) for source, sha in zip(sources, hashes, strict=True)]
    decisive = [store.VERSION, tokenizer.sha256, tokenizer.vocab_size, tokenizer.eos_id, settings, contents]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def _cached(out: Path, key: str, tokenizer_sha: str) -> TokenStore | None:
    """The store at `out` if it is whole and was made from the same things."""
    if not (out / MANIFEST).exists():
        return None
    # Whatever is wrong with what lies there (another version, a damaged shard), preparing anew is the remedy.
    with suppress(GroundupError):
        manifest = read_json(out / MANIFEST)
        if isinstance(manifest, dict) and manifest.get("key") == key:
            return TokenStore.open(out, tokenizer_sha)
    return None


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
    writers: Sequence[_ShardWriter],
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


@dataclass
class _Progress:
    """Where the finished shards of a split end."""

    n_units: int = 0
    in_document: bool = False
    shards: list[ShardRecord] = field(default_factory=list)


class _Journal:
    """What is finished, on disk: `preparing.json`, rewritten after every shard, removed once there is a manifest."""

    def __init__(self, path: Path, key: str, splits: dict[str, _Progress]) -> None:
        self._path = path
        self._key = key
        self.splits = splits

    @classmethod
    def open(cls, out: Path, key: str) -> _Journal:
        """Take up the work of an interrupted run with the same key; clear away that of any other."""
        splits = {name: _Progress() for name in SPLITS}
        journal = cls(out / JOURNAL, key, splits)
        with clear_write_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        with suppress(GroundupError, KeyError, TypeError):
            found = read_json(out / JOURNAL)
            if found["key"] == key:
                for name in SPLITS:
                    kept = found["splits"][name]
                    splits[name] = _Progress(
                        kept["n_units"], kept["in_document"], [ShardRecord(**shard) for shard in kept["shards"]]
                    )
        if not all(_is_whole(out, shard) for progress in splits.values() for shard in progress.shards):
            splits.update({name: _Progress() for name in SPLITS})
        with clear_write_errors(out):
            # From here on the folder is no store: the old manifest goes first.
            (out / MANIFEST).unlink(missing_ok=True)
            journal.write()
            kept_files = {shard.file for progress in splits.values() for shard in progress.shards}
            for pattern in _OURS:
                for path in out.glob(pattern):
                    if path.name not in kept_files:
                        path.unlink()
        return journal

    @property
    def n_shards(self) -> int:
        return sum(len(progress.shards) for progress in self.splits.values())

    def write(self) -> None:
        write_json(self._path, {"key": self._key, "splits": {n: asdict(p) for n, p in self.splits.items()}})


def _is_whole(out: Path, record: ShardRecord) -> bool:
    try:
        shard = store.Shard(out / record.file)
    except GroundupError:
        return False
    return (len(shard.tokens), len(shard.document_starts)) == (record.n_tokens, record.n_documents)


class _ShardWriter:
    """Gathers the units of a split and writes a shard whenever one is full."""

    def __init__(
        self, out: Path, journal: _Journal, name: str, eos_id: int, dtype: np.dtype, tokens_per_shard: int
    ) -> None:
        self._out = out
        self._journal = journal
        self._name = name
        self._dtype = dtype
        self._eos = np.array([eos_id], np.uint32)
        self._tokens_per_shard = tokens_per_shard
        progress = journal.splits[name]
        self.n_units = progress.n_units
        self._in_document = progress.in_document
        self._clear()

    def _clear(self) -> None:
        self._parts: list[np.ndarray] = []
        self._starts: list[int] = []
        self._n_tokens = self._n_bytes = 0

    def add(self, ids: np.ndarray, ends: bool, n_bytes: int) -> None:
        if not self._in_document:
            self._starts.append(self._n_tokens)
        self._parts.append(ids)
        self._n_tokens += len(ids)
        if ends:
            self._parts.append(self._eos)
            self._n_tokens += 1
        self._in_document = not ends
        self._n_bytes += n_bytes
        self.n_units += 1
        if self._n_tokens >= self._tokens_per_shard:
            self.finish()

    def finish(self) -> None:
        """Write what is gathered as a shard, and then into the journal that it is there."""
        if not self._parts:
            return
        progress = self._journal.splits[self._name]
        file = f"{self._name}-{len(progress.shards):05d}.tokens"
        sha = write_shard(self._out / file, self._parts, self._dtype, self._starts)
        progress.shards.append(ShardRecord(file, self._n_tokens, len(self._starts), self._n_bytes, sha))
        progress.n_units, progress.in_document = self.n_units, self._in_document
        self._journal.write()
        self._clear()


def _summary(progress: _Progress) -> dict[str, Any]:
    counts = {
        name: sum(getattr(shard, name) for shard in progress.shards) for name in ("n_tokens", "n_documents", "n_bytes")
    }
    return counts | {"shards": [asdict(shard) for shard in progress.shards]}


def _counts(prepared: TokenStore) -> str:
    def of(name: str) -> str:
        split = prepared.split(name)
        return f"{split.n_tokens:,} {name} tokens in {split.n_documents:,} documents ({readable_bytes(split.n_bytes)})"

    return " and ".join(of(name) for name in SPLITS)
