"""Writing a token store: shards as they fill, a journal of those that are finished, the manifest last.

One idea: whoever makes a store (from text, or from the tokens of others) hands units over, each with its side; a shard
is full after a certain unit, and the journal says after which. So a maker that gives the same units again and skips as many
as the journal holds goes on where it was stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from groundup.core.errors import GroundupError
from groundup.core.files import clear_write_errors, read_json, readable_bytes, write_json
from groundup.data import store
from groundup.data.remarks import documents
from groundup.data.store import JOURNAL, MANIFEST, SPLITS, ShardRecord, TokenStore, write_shard
from groundup.data.verification import source_record

if TYPE_CHECKING:
    from groundup.data.sources import Source
    from groundup.data.split import Survey
    from groundup.tokenization.tokenizer import Tokenizer

PARTS = "preparing"  # the folder of what workers have finished, until there is a manifest

TOKENS_PER_SHARD = 1 << 24  # 32 MB of u16, about 60 MB of text: what a kill can cost is a few seconds of work

# What a stopped run can leave behind; nothing else in the folder is touched.
_OURS = (
    "train-*.tokens",
    "validation-*.tokens",
    ".*.tokens.*.partial",
    ".*.json.*.partial",
    "tokenizer/.*.json.*.partial",
)


def end_of_text(tokenizer: Tokenizer) -> int:
    """The id that ends a document. Raises `GroundupError` for a tokenizer that has none."""
    if tokenizer.eos_id is None:
        raise GroundupError(
            "this tokenizer has no end of text token, so documents could not be told apart; train one with "
            "`groundup tokenizer train`, or name its end of text token in tokenizer_config.json as eos_token"
        )
    return tokenizer.eos_id


def cached_store(out: Path, key: str, tokenizer_sha: str) -> TokenStore | None:
    """The store at `out` if it is whole and was made from the same things."""
    if not (out / MANIFEST).exists():
        return None
    # Whatever is wrong with what lies there (another version, a damaged shard), preparing anew is the remedy.
    with suppress(GroundupError):
        manifest = read_json(out / MANIFEST)
        if isinstance(manifest, dict) and manifest.get("key") == key:
            return TokenStore.open(out, tokenizer_sha)
    return None


@dataclass
class Progress:
    """Where the finished shards of a split end."""

    n_units: int = 0
    in_document: bool = False
    shards: list[ShardRecord] = field(default_factory=list)


class Journal:
    """What is finished, on disk: `preparing.json`, rewritten after every shard, removed once there is a manifest."""

    def __init__(self, path: Path, key: str, splits: dict[str, Progress]) -> None:
        self._path = path
        self.key = key
        self.splits = splits

    @classmethod
    def open(cls, out: Path, key: str) -> Journal:
        """Take up the work of an interrupted run with the same key; clear away that of any other."""
        splits = {name: Progress() for name in SPLITS}
        journal = cls(out / JOURNAL, key, splits)
        with clear_write_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        with suppress(GroundupError, KeyError, TypeError):
            found = read_json(out / JOURNAL)
            if found["key"] == key:
                for name in SPLITS:
                    kept = found["splits"][name]
                    splits[name] = Progress(
                        kept["n_units"], kept["in_document"], [ShardRecord(**shard) for shard in kept["shards"]]
                    )
        if not all(_is_whole(out, shard) for progress in splits.values() for shard in progress.shards):
            splits.update({name: Progress() for name in SPLITS})
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
        write_json(self._path, {"key": self.key, "splits": {n: asdict(p) for n, p in self.splits.items()}})


def _is_whole(out: Path, record: ShardRecord) -> bool:
    try:
        shard = store.Shard(out / record.file)
    except GroundupError:
        return False
    return (len(shard.tokens), len(shard.document_starts)) == (record.n_tokens, record.n_documents)


class ShardWriter:
    """Gathers the units of a split and writes a shard whenever one is full."""

    def __init__(
        self, out: Path, journal: Journal, name: str, eos_id: int, dtype: np.dtype, tokens_per_shard: int
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
        # A copy: `ids` may be a view, and a few rows of validation text would keep all that was encoded with them.
        self._parts.append(ids.astype(self._dtype))
        self._n_tokens += len(ids)
        if ends:
            self._parts.append(self._eos)
            self._n_tokens += 1
        self._in_document = not ends
        self._n_bytes += n_bytes
        self.n_units += 1
        if self._n_tokens >= self._tokens_per_shard:
            self.finish()

    def add_run(self, tokens: np.ndarray, sizes: np.ndarray, ends: np.ndarray, n_bytes: np.ndarray) -> None:
        """Add many units at once: `tokens` are theirs, ends of text in place; the rest holds a value for each unit."""
        borders = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        begun = 0  # units of the run that were taken
        while begun < len(sizes):
            room = borders[begun] + self._tokens_per_shard - self._n_tokens
            stop = min(int(np.searchsorted(borders, room)), len(sizes))  # the shard is full after this many
            part = slice(begun, stop)
            begins = np.concatenate([[not self._in_document], ends[begun : stop - 1]])
            self._starts += (borders[part][begins.astype(bool)] - borders[begun] + self._n_tokens).tolist()
            self._parts.append(tokens[borders[begun] : borders[stop]])
            self._n_tokens += int(borders[stop] - borders[begun])
            self._n_bytes += int(n_bytes[part].sum())
            self._in_document = not ends[stop - 1]
            self.n_units += stop - begun
            begun = stop
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


def store_key(tokenizer: Tokenizer, settings: dict[str, Any], sources: Sequence[Source], hashes: Sequence[str]) -> str:
    """One hash over all that decides the bytes of a store made from text."""
    contents = [
        (source.kind, source.compression, source.member, sha) for source, sha in zip(sources, hashes, strict=True)
    ]
    decisive = [store.VERSION, tokenizer.sha256, tokenizer.vocab_size, tokenizer.eos_id, settings, contents]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def finish_store(
    out: Path,
    journal: Journal,
    tokenizer: Tokenizer,
    settings: dict[str, Any],
    found: Survey,
    remarks: Counter[str],
    sources: Sequence[Source],
    hashes: Sequence[str],
) -> TokenStore:
    """Write the manifest of a store made from text, and open it."""
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
    return TokenStore.open(out, tokenizer.sha256, verify=False)


def write_manifest(out: Path, journal: Journal, tokenizer: Tokenizer, **facts: Any) -> None:
    """Write the manifest of a store whose shards are finished, `facts` about its sources among it; it is whole then."""
    write_json(
        out / MANIFEST,
        {
            "format": store.FORMAT,
            "version": store.VERSION,
            "key": journal.key,
            "tokenizer": {
                "sha256": tokenizer.sha256,
                "algorithm": tokenizer.algorithm,
                "vocab_size": tokenizer.vocab_size,
                "eos_id": tokenizer.eos_id,
            },
            **facts,
            "splits": {name: _summary(journal.splits[name]) for name in SPLITS},
        },
    )
    (out / JOURNAL).unlink()
    shutil.rmtree(out / PARTS, ignore_errors=True)


def _summary(progress: Progress) -> dict[str, Any]:
    counts = {
        name: sum(getattr(shard, name) for shard in progress.shards) for name in ("n_tokens", "n_documents", "n_bytes")
    }
    return counts | {"shards": [asdict(shard) for shard in progress.shards]}


def store_counts(prepared: TokenStore) -> str:
    def of(name: str) -> str:
        split = prepared.split(name)
        return f"{split.n_tokens:,} {name} tokens in {documents(split.n_documents)} ({readable_bytes(split.n_bytes)})"

    return " and ".join(of(name) for name in SPLITS)
