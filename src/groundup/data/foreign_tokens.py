"""Token files of others, nanoGPT's and llm.c's, made into a token store without encoding anything again.

One idea: their ids are only numbers until a tokenizer is named, so it must be, and every id must lie in its vocabulary.
Documents end at its end of text: nanoGPT writes it after each (its data/openwebtext/prepare.py; a file without any is one
document), llm.c before each (its dev/data); either way what lies between two of them is a document.

    nanoGPT   u16 ids, nothing else
    llm.c     header of 256 i32 (magic 20240520, version 1, number of tokens), u16 ids;
              magic 20240801, version 7 for Llama 3's vocabulary: u32 ids
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from groundup.core.errors import GroundupError
from groundup.core.files import readable_bytes, sha256_of
from groundup.core.progress import Reporter
from groundup.data import store
from groundup.data.sources import TOKEN_SUFFIX, Paths
from groundup.data.split import DEFAULT_FRACTION, TRAIN, VALIDATION
from groundup.data.store import SPLITS, TokenStore, token_dtype
from groundup.data.store_writing import Journal, ShardWriter, cached_store, end_of_text, store_counts, write_manifest

if TYPE_CHECKING:
    from groundup.tokenization.tokenizer import Tokenizer

_HEADER_BYTES = 256 * 4
_LLM_C = {(20240520, 1): "<u2", (20240801, 7): "<u4"}
_CHUNK = 1 << 20  # tokens looked at and handed over at once


@dataclass(frozen=True)
class TokenFile:
    """A file of ids: `kind` is nanogpt or llm.c; the ids begin at byte `offset`, as numpy's `dtype`."""

    path: Path
    kind: str
    dtype: str
    offset: int
    n_tokens: int

    def ids(self) -> np.ndarray:
        """The ids, memory-mapped, u16 or u32 [n_tokens]."""
        return np.asarray(np.memmap(self.path, self.dtype, "r", self.offset, (self.n_tokens,)))

    @property
    def is_validation(self) -> bool:
        """Whether its name says that it is to be measured with (`val.bin`, `fineweb_val_000000.bin`)."""
        return "val" in self.path.stem.lower()


def are_token_files(paths: Paths) -> bool:
    """Whether `paths` are token files and nothing else. Raises `GroundupError` when they are mixed with text."""
    given = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    tokens = [path for path in given if path.lower().endswith(TOKEN_SUFFIX) and not Path(path).is_dir()]
    if tokens and len(tokens) < len(given):
        other = next(path for path in given if path not in tokens)
        raise GroundupError(f"{tokens[0]} holds tokens and {other} text; prepare them apart")
    return bool(tokens)


def open_token_file(path: str | Path) -> TokenFile:
    """Tell what a token file is by its header. Raises `GroundupError` for one that is cut off or of no known kind."""
    path = Path(path)
    if not path.is_file():
        raise GroundupError(f"{path} does not exist")
    size = path.stat().st_size
    with open(path, "rb") as file:
        header = np.frombuffer(file.read(_HEADER_BYTES), "<i4") if size >= _HEADER_BYTES else np.empty(0, "<i4")
    if len(header) and int(header[0]) in {magic for magic, _ in _LLM_C}:
        magic, version, n_tokens = (int(value) for value in header[:3])
        dtype = _LLM_C.get((magic, version))
        if dtype is None:
            raise GroundupError(f"{path} is an llm.c file of version {version}, which is not known; write it anew")
        promised = _HEADER_BYTES + n_tokens * np.dtype(dtype).itemsize
        if n_tokens < 1 or size != promised:
            raise GroundupError(
                f"{path} has {size:,} bytes but its header promises {n_tokens:,} tokens ({promised:,} bytes); get it again"
            )
        return TokenFile(path, "llm.c", dtype, _HEADER_BYTES, n_tokens)
    if size == 0 or size % 2:
        raise GroundupError(f"{path} has {size:,} bytes, so it is no file of 16-bit tokens as nanoGPT writes them")
    return TokenFile(path, "nanogpt", "<u2", 0, size // 2)


def documents_of_tokens(ids: np.ndarray, eos_id: int, *, closes: bool = True) -> Iterator[tuple[np.ndarray, bool]]:
    """The documents in `ids` without end of text, the longest in parts of a million; the flag: the document ends here.

    Whether the last one ends where the ids do, without end of text, `closes` says.
    """
    begun = False
    for start in range(0, len(ids), _CHUNK):
        part = ids[start : start + _CHUNK]
        at = 0
        for end in np.flatnonzero(part == eos_id).tolist():
            if end > at or begun:
                yield part[at:end], True
            at, begun = end + 1, False
        if at < len(part):
            is_last = start + len(part) == len(ids)
            yield part[at:], is_last and closes
            begun = True


def prepare_token_files(
    paths: Paths,
    tokenizer: Tokenizer,
    out: Path,
    *,
    validation_fraction: float | None,
    tokens_per_shard: int,
    reporter: Reporter,
) -> TokenStore:
    """Make a token store of token files, whose ids are those of `tokenizer`.

    Files with `val` in their name are the validation split. Without any, the last tenth (or `validation_fraction`) of
    the tokens is, from the beginning of a document where one begins near. Raises `GroundupError` for an id outside the
    vocabulary.
    """
    began, eos_id = time.perf_counter(), end_of_text(tokenizer)
    files = [open_token_file(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    n_tokens = sum(file.n_tokens for file in files)
    has_validation = any(file.is_validation for file in files)
    if has_validation and validation_fraction is not None:
        name = next(file.path for file in files if file.is_validation)
        raise GroundupError(f"validation_fraction has no effect: {name} is the validation text; leave one of them out")
    for file in files:
        _check(file, tokenizer.vocab_size)
        reporter.say(f"reading     {file.path} as {file.kind}: {file.n_tokens:,} tokens{_beginning(file, tokenizer)}")
    hashes = [sha256_of(file.path) for file in files]
    fraction = 0.0 if has_validation else DEFAULT_FRACTION if validation_fraction is None else validation_fraction
    settings = {"validation_fraction": fraction, "tokens_per_shard": tokens_per_shard}
    decisive = [store.VERSION, tokenizer.sha256, settings, [(f.kind, f.is_validation) for f in files], hashes]
    key = hashlib.sha256(json.dumps(decisive).encode()).hexdigest()
    if (cached := cached_store(out, key, tokenizer.sha256)) is not None:
        reporter.say(f"{out}: same tokens, settings and tokenizer as before, nothing to do ({store_counts(cached)})")
        return cached

    lengths = tokenizer.token_bytes()
    journal = Journal.open(out, key)
    tokenizer.save(out / "tokenizer")
    writers = [
        ShardWriter(out, journal, name, eos_id, token_dtype(tokenizer.vocab_size), tokens_per_shard) for name in SPLITS
    ]
    to_skip = [writer.n_units for writer in writers]
    n_documents = n_bytes = 0
    with reporter.bar("copying", n_tokens) as bar:
        for side, ids, ends in _sided(files, eos_id, fraction):
            size = int(lengths[ids].sum())
            n_documents, n_bytes = n_documents + ends, n_bytes + size
            if to_skip[side]:
                to_skip[side] -= 1
            else:
                writers[side].add(ids, ends, size)
            bar.advance(len(ids) + ends)
        for writer in writers:
            writer.finish()
    write_manifest(
        out,
        journal,
        tokenizer,
        settings=settings,
        split_by="file" if has_validation else "block" if fraction else "none",
        n_documents=n_documents,
        n_bytes=n_bytes,
        remarks={},
        sources=[
            asdict(f) | {"path": os.path.abspath(f.path), "n_bytes": f.path.stat().st_size, "sha256": sha}
            for f, sha in zip(files, hashes, strict=True)
        ],
    )
    prepared = TokenStore.open(out, tokenizer.sha256, verify=False)
    reporter.say(f"{out}: {store_counts(prepared)}, in {time.perf_counter() - began:.1f} s")
    return prepared


def _sided(files: Sequence[TokenFile], eos_id: int, fraction: float) -> Iterator[tuple[int, np.ndarray, bool]]:
    """The documents with their side; of the training files' last `fraction` of tokens, validation."""
    training = [file for file in files if not file.is_validation]
    border = _border(training, eos_id, fraction)
    for file in files:
        ids = file.ids()
        if file.is_validation:
            at = 0
        else:
            at = min(max(border, 0), file.n_tokens)
            border -= file.n_tokens
        is_cut = 0 < at < len(ids) and ids[at - 1] != eos_id
        for document, ends in documents_of_tokens(ids[:at], eos_id, closes=not is_cut):
            yield TRAIN, document, ends
        for document, ends in documents_of_tokens(ids[at:], eos_id):
            yield VALIDATION, document, ends


def _border(files: Sequence[TokenFile], eos_id: int, fraction: float) -> int:
    """The token at which the validation text begins: after an end of text, if one stands in the tail's first half."""
    total = sum(file.n_tokens for file in files)
    border = total - int(total * fraction)
    before = 0
    for file in files:
        if before <= border < before + file.n_tokens:
            ends = np.flatnonzero(file.ids()[border - before :][: (total - border) // 2] == eos_id)
            return border + int(ends[0]) + 1 if len(ends) else border
        before += file.n_tokens
    return border


def _check(file: TokenFile, vocab_size: int) -> None:
    """Refuse a file with an id that is none of the vocabulary, before anything is made of it."""
    ids = file.ids()
    for start in range(0, len(ids), _CHUNK):
        outside = np.flatnonzero(ids[start : start + _CHUNK] >= vocab_size)
        if len(outside):
            at = start + int(outside[0])
            raise GroundupError(
                f"{file.path}: token {int(ids[at]):,}, at place {at:,}, is outside this tokenizer's {vocab_size:,} entries, so "
                "another tokenizer made it (name that one) or it is no file of tokens"
            )


def _beginning(file: TokenFile, tokenizer: Tokenizer) -> str:
    """How the file begins as text, for a person to see that this is its tokenizer."""
    text = tokenizer.decode(file.ids()[:40], skip_special=True)
    return f", beginning {text[:60]!r} ({readable_bytes(file.path.stat().st_size)})"
