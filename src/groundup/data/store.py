"""The token store: a corpus as token ids on disk, read by memory mapping.

One idea: a folder whose manifest is written last. Shards (`train-00000.tokens`, ...) hold the ids of one split in
order; `manifest.json` names the tokenizer, the sources and the SHA-256 of every shard. A folder with a manifest is
whole, a folder without one is not a store; so whatever kills the writer, nobody reads half a corpus.

A document is its tokens, then end of text. A shard, little-endian:

    magic "GUTOKENS" | version u32 | bytes per token u32 | n_tokens u64 | n_documents u64      32 bytes
    tokens u16 or u32 [n_tokens] | zeros up to a multiple of 8 | document_starts u64 [n_documents]

`document_starts` are the places, counted from the shard's first token, where a document begins; a long document may
go on through several shards and begins in one. (Shards with a checked header: modded-nanogpt's habit.)
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from groundup.core.errors import GroundupError, unknown_name
from groundup.core.files import read_json, sha256_of, write_atomically

FORMAT = "groundup token store"
VERSION = 1
MANIFEST = "manifest.json"
JOURNAL = "preparing.json"
SPLITS = ("train", "validation")

_MAGIC = b"GUTOKENS"
_HEADER = struct.Struct("<8sIIQQ")


@dataclass(frozen=True)
class ShardRecord:
    """What the manifest says of one shard; `n_bytes` counts the UTF-8 bytes of its text."""

    file: str
    n_tokens: int
    n_documents: int
    n_bytes: int
    sha256: str


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest unsigned type that holds every id of the vocabulary."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def write_shard(
    path: Path, tokens: Sequence[np.ndarray], dtype: np.dtype | type[np.generic], document_starts: Sequence[int]
) -> str:
    """Write one shard atomically and return its SHA-256; `tokens` come in parts, joined here and stored as `dtype`."""
    itemsize, n_tokens = np.dtype(dtype).itemsize, sum(map(len, tokens))
    starts_at = _starts_at(n_tokens, itemsize)
    content = bytearray(starts_at + 8 * len(document_starts))  # filled in place: a shard is a large part of our memory
    _HEADER.pack_into(content, 0, _MAGIC, VERSION, itemsize, n_tokens, len(document_starts))
    place = np.frombuffer(content, f"<u{itemsize}", n_tokens, _HEADER.size)
    np.concatenate([place[:0], *tokens], out=place, casting="unsafe")
    np.frombuffer(content, "<u8", offset=starts_at)[:] = document_starts
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def _starts_at(n_tokens: int, itemsize: int) -> int:
    """Where the document starts lie in a shard: after the tokens, at a multiple of 8."""
    return _HEADER.size + -(-n_tokens * itemsize // 8) * 8


class Shard:
    """One shard, memory-mapped: `tokens` and `document_starts` are read from disk as they are touched."""

    def __init__(self, path: Path) -> None:
        try:
            size = path.stat().st_size
            with open(path, "rb") as file:
                header = file.read(_HEADER.size)
        except FileNotFoundError:
            raise GroundupError(f"shard {path} is missing; {_PREPARE_AGAIN}") from None
        if len(header) < _HEADER.size or header[:8] != _MAGIC:
            raise GroundupError(f"shard {path} does not begin as a token shard does; {_PREPARE_AGAIN}")
        _, version, itemsize, n_tokens, n_documents = _HEADER.unpack(header)
        if version != VERSION:
            raise GroundupError(f"shard {path} is of version {version}, this program reads {VERSION}; {_PREPARE_AGAIN}")
        if itemsize not in (2, 4):
            raise GroundupError(f"shard {path} says {itemsize} bytes a token, not 2 or 4; {_PREPARE_AGAIN}")
        starts_at = _starts_at(n_tokens, itemsize)
        if size != starts_at + 8 * n_documents:
            raise GroundupError(
                f"shard {path} has {size:,} bytes but its header promises {starts_at + 8 * n_documents:,}; "
                f"it is truncated or damaged; {_PREPARE_AGAIN}"
            )
        self.tokens = _map(path, f"<u{itemsize}", _HEADER.size, n_tokens)
        self.document_starts = _map(path, "<u8", starts_at, n_documents)


_PREPARE_AGAIN = "delete the folder and prepare the data again"


def _map(path: Path, dtype: str, offset: int, n: int) -> np.ndarray:
    if n == 0:  # an empty range cannot be mapped
        return np.empty(0, dtype)
    # A plain array over the map: slices of np.memmap itself cost ten times a slice of an array.
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=(n,)))


class TokenSplit:
    """The training or the validation tokens of a store as one long row, whatever the shards."""

    def __init__(self, name: str, shards: list[Shard], n_bytes: int, eos_id: int) -> None:
        self.name = name
        self.eos_id = eos_id
        self.n_bytes = n_bytes  # UTF-8 bytes of the text; end of text counts none
        self._shards = shards
        self._token_starts = [0, *accumulate(len(shard.tokens) for shard in shards)]
        self._document_counts = [0, *accumulate(len(shard.document_starts) for shard in shards)]
        self.n_tokens = self._token_starts[-1]
        self.n_documents = self._document_counts[-1]

    def read(self, start: int, length: int) -> np.ndarray:
        """The ids at positions start .. start + length, u16 or u32 [length]: a view, or a copy across shards."""
        assert 0 <= start <= start + length <= self.n_tokens, (start, length, self.n_tokens)
        k = bisect_right(self._token_starts, start) - 1
        parts = []
        while length > 0:
            offset = start - self._token_starts[k]
            part = self._shards[k].tokens[offset : offset + length]
            parts.append(part)
            start, length, k = start + len(part), length - len(part), k + 1
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, np.uint16)

    def gather(self, positions: np.ndarray) -> np.ndarray:
        """The ids at many positions, in whatever order they are asked for, int64 [n]."""
        assert not len(positions) or 0 <= positions.min() <= positions.max() < self.n_tokens, self.n_tokens
        shards = np.searchsorted(self._token_starts, positions, side="right") - 1
        ids = np.empty(len(positions), np.int64)
        for k in np.unique(shards).tolist():
            here = shards == k
            ids[here] = self._shards[k].tokens[positions[here] - self._token_starts[k]]
        return ids

    def document_ids(self, start: int, length: int) -> np.ndarray:
        """Segment of each position for attention, int64 [length]: how many ends of text were read so far."""
        return document_ids(self.read(start, length), self.eos_id)

    def document_starts(self, shard: int) -> np.ndarray:
        """Where the documents that begin in shard number `shard` begin, counted from the start of the split."""
        return self._shards[shard].document_starts + np.uint64(self._token_starts[shard])

    @property
    def n_shards(self) -> int:
        return len(self._shards)

    def document(self, index: int) -> tuple[int, int]:
        """(start, length) of a document, its end of text included; for looking at one, not for training."""
        assert 0 <= index < self.n_documents, (index, self.n_documents)
        return self._document_start(index), self._document_start(index + 1) - self._document_start(index)

    def _document_start(self, index: int) -> int:
        if index == self.n_documents:
            return self.n_tokens
        k = bisect_right(self._document_counts, index) - 1
        return self._token_starts[k] + int(self._shards[k].document_starts[index - self._document_counts[k]])


def document_ids(tokens: np.ndarray, eos_id: int) -> np.ndarray:
    """The segment of every position along the last axis: the number of ends of text at or before it.

    An end of text as an *input* opens the next document's segment; so the next document's first token is
    predicted from the end of text alone, no target is lost, and documents never see each other.
    """
    return np.cumsum(tokens == eos_id, axis=-1, dtype=np.int64)


class TokenStore:
    """A prepared corpus: its manifest, and its splits memory-mapped."""

    def __init__(self, folder: Path, manifest: dict[str, Any], splits: dict[str, TokenSplit]) -> None:
        self.folder = folder
        self.manifest = manifest
        self._splits = splits

    @classmethod
    def open(cls, folder: str | Path, tokenizer_sha: str | None = None, *, verify: bool = True) -> TokenStore:
        """Open a prepared folder.

        `tokenizer_sha` is the hash of the tokenizer that will be used with it: another one is an error that names
        both. `verify` reads every shard once and compares its SHA-256 (about 1 GB/s a core); a missing, truncated
        or damaged shard is named.
        """
        folder = Path(folder)
        manifest = _read_manifest(folder)
        try:
            store = cls._open(folder, manifest, tokenizer_sha)
        except (KeyError, TypeError) as error:
            raise GroundupError(f"{folder / MANIFEST} is damaged ({error!r}); {_PREPARE_AGAIN}") from None
        if verify:
            store.verify()
        return store

    @classmethod
    def _open(cls, folder: Path, manifest: dict[str, Any], tokenizer_sha: str | None) -> TokenStore:
        recorded = manifest["tokenizer"]["sha256"]
        if tokenizer_sha is not None and tokenizer_sha != recorded:
            raise GroundupError(
                f"{folder} was prepared with tokenizer {recorded[:12]} ({manifest['tokenizer']['algorithm']}, "
                f"{manifest['tokenizer']['vocab_size']:,} tokens; a copy is in {folder / 'tokenizer'}), not with "
                f"tokenizer {tokenizer_sha[:12]}; use that copy, or prepare the text again with this tokenizer"
            )
        splits = {}
        for name in SPLITS:
            record = manifest["splits"][name]
            shards = [_open_shard(folder, ShardRecord(**shard)) for shard in record["shards"]]
            splits[name] = TokenSplit(name, shards, record["n_bytes"], manifest["tokenizer"]["eos_id"])
        return cls(folder, manifest, splits)

    def split(self, name: str) -> TokenSplit:
        """The `train` or the `validation` split."""
        if name not in self._splits:
            raise unknown_name("split", name, self._splits)
        return self._splits[name]

    @property
    def tokenizer_folder(self) -> Path:
        """Where the store keeps its copy of the tokenizer."""
        return self.folder / "tokenizer"

    @property
    def vocab_size(self) -> int:
        return self.manifest["tokenizer"]["vocab_size"]

    def verify(self) -> None:
        """Compare the SHA-256 of every shard with the manifest; the first damaged one is named."""
        shards = [ShardRecord(**shard) for name in SPLITS for shard in self.manifest["splits"][name]["shards"]]
        with ThreadPoolExecutor() as threads:  # hashing releases the GIL
            hashes = threads.map(lambda shard: sha256_of(self.folder / shard.file), shards)
            for shard, found in zip(shards, hashes, strict=True):
                if found != shard.sha256:
                    raise GroundupError(
                        f"shard {self.folder / shard.file} is damaged: its SHA-256 is {found[:12]}, "
                        f"the manifest says {shard.sha256[:12]}; {_PREPARE_AGAIN}"
                    )


def _open_shard(folder: Path, record: ShardRecord) -> Shard:
    shard = Shard(folder / record.file)
    if len(shard.tokens) != record.n_tokens or len(shard.document_starts) != record.n_documents:
        raise GroundupError(
            f"shard {folder / record.file} holds {len(shard.tokens):,} tokens and {len(shard.document_starts):,} "
            f"documents; the manifest says {record.n_tokens:,} and {record.n_documents:,}; {_PREPARE_AGAIN}"
        )
    return shard


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise GroundupError(f"{folder} is not a folder of prepared data; make one with `groundup data prepare`")
    if not (folder / MANIFEST).exists():
        if (folder / JOURNAL).exists():
            raise GroundupError(
                f"{folder} is prepared only in part; run the same `groundup data prepare` again: "
                "finished shards are kept"
            )
        raise GroundupError(
            f"{folder} has no {MANIFEST}, so it is not prepared data; make it with `groundup data prepare`"
        )
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise GroundupError(f"{folder / MANIFEST} is not the manifest of a token store; {_PREPARE_AGAIN}")
    if manifest.get("version") != VERSION:
        raise GroundupError(
            f"{folder} is a token store of version {manifest.get('version')}, this program reads {VERSION}; "
            f"{_PREPARE_AGAIN}"
        )
    return manifest
