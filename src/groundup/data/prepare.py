"""Preparation: from files of text to a token store, in one stream.

One idea: the text is a sequence of *units* (a document, or a stretch of a long one cut where no token crosses) that
depends on the text, the settings and the tokenizer, and on nothing else: not on threads, nor on when the work was
interrupted. A shard is full after a certain unit; the journal says how many units the finished shards hold. So
whoever goes on after a kill skips that many and writes the very bytes an uninterrupted run would have written.

Memory: a few units a thread and one shard a split, whatever the corpus.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from groundup.core.errors import GroundupError
from groundup.core.progress import QUIET, Reporter
from groundup.data.cluster import check_cluster, submit
from groundup.data.foreign_tokens import are_token_files, prepare_token_files
from groundup.data.formats.rows import listed
from groundup.data.processes import prepare_by_processes
from groundup.data.reading import Reading
from groundup.data.remarks import counted
from groundup.data.sources import Paths, Source, described, hash_sources
from groundup.data.split import DEFAULT_FRACTION, DEFAULT_MOST_BYTES, check_fraction, sided_pieces, survey
from groundup.data.store import MANIFEST, SPLITS, TokenStore, token_dtype
from groundup.data.store_writing import (
    TOKENS_PER_SHARD,
    Journal,
    ShardWriter,
    cached_store,
    end_of_text,
    finish_store,
    store_counts,
    store_key,
)
from groundup.data.tasks import Work
from groundup.data.units import encode_units, units_of

if TYPE_CHECKING:
    from groundup.tokenization.tokenizer import Tokenizer


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
    n_workers: int | None = None,
    seed: int = 0,
    tokens_per_shard: int = TOKENS_PER_SHARD,
    reporter: Reporter = QUIET,
) -> TokenStore:
    """Turn the text under `paths` into a token store at `out` and open it.

    `validation_fraction` is a share of the bytes (0.1, but at most 20 MB, unless said); 0 keeps none. `Reading` tells the
    settings of how files are read. The same text with the same settings and tokenizer is not prepared twice; any change
    prepares it anew. Killed, the same call keeps the finished shards and goes on. `n_workers` processes share the files
    among them, each with `n_threads` (1 then); the store is the same to the byte. Raises `GroundupError` for text that
    cannot be read and a full disk.
    """
    began = time.perf_counter()
    out = Path(out)
    reading = Reading(text_field, separator, format, map or {}, encoding, on_bad_row)
    if are_token_files(paths):
        if useless := reading.given():
            raise GroundupError(
                f"{listed(useless)} would have no effect on token files: they hold no text; leave it out"
            )
        if n_workers is not None:
            raise GroundupError("n_workers would have no effect on token files: they are copied; leave it out")
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
    sources = _sources(paths, reading, remarks, validation_fraction, reporter)
    settings = _settings(reading, validation_fraction, seed, tokens_per_shard)
    may_be_done = (out / MANIFEST).exists()
    hashes = hash_sources(sources, n_threads) if may_be_done or n_workers is None else []  # else workers hash
    key = store_key(tokenizer, settings, sources, hashes) if hashes else ""
    if may_be_done and (cached := cached_store(out, key, tokenizer.sha256)) is not None:
        reporter.say(f"{out}: same text, settings and tokenizer as before, nothing to do ({store_counts(cached)})")
        return cached
    if n_workers is not None:
        work = Work.begin(out, tokenizer, sources, reading, settings, remarks)
        prepared = prepare_by_processes(work, n_workers, n_threads or 1, reporter)
        return _told(prepared, began, reporter)

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
        units = units_of(sided_pieces(sources, reading, found), tokenizer.safe_cut, remarks)
        encode_units(units, tokenizer, n_threads, writers, bar.advance)
        for writer in writers:
            writer.finish()
    return _told(finish_store(out, journal, tokenizer, settings, found, remarks, sources, hashes), began, reporter)


def prepare_on_cluster(
    paths: Paths,
    tokenizer: Tokenizer,
    out: str | Path,
    slurm: Mapping[str, str],
    *,
    reading: Reading | None = None,
    validation_fraction: float | None = None,
    n_threads: int = 1,
    n_workers: int = -1,
    seed: int = 0,
    tokens_per_shard: int = TOKENS_PER_SHARD,
    reporter: Reporter = QUIET,
) -> TokenStore | None:
    """Have the machines of a slurm cluster do what `prepare` does, to the byte; all of them must see `out` and the text.

    The work is put into the queue and None returned; the same call tells how far it is, puts what was stopped back into
    the queue, and opens the store once it is whole. `slurm` says `partition`, `time` and what else `sbatch` should hear
    (`check_cluster`); `n_workers` tasks run at once, -1 for no limit. Raises `GroundupError` as `prepare`
    does, and where slurm's commands are missing.
    """
    out, reading = Path(out), reading or Reading()
    if are_token_files(paths):
        raise GroundupError("token files are copied, not encoded: prepare them without slurm")
    end_of_text(tokenizer)
    cluster_settings = check_cluster(slurm, n_threads)
    remarks: Counter[str] = Counter()
    sources = _sources(paths, reading, remarks, validation_fraction, reporter)
    settings = _settings(reading, validation_fraction, seed, tokens_per_shard)
    if (out / MANIFEST).exists():
        key = store_key(tokenizer, settings, sources, hash_sources(sources))
        if (cached := cached_store(out, key, tokenizer.sha256)) is not None:
            return _told(cached, None, reporter)
    work = Work.begin(out, tokenizer, sources, reading, settings, remarks)
    submit(work, cluster_settings, n_workers, n_threads, reporter)
    return None


def _sources(
    paths: Paths, reading: Reading, remarks: Counter[str], validation_fraction: float | None, reporter: Reporter
) -> list[Source]:
    check_fraction(validation_fraction)
    sources = reading.sources(paths, remarks)
    reporter.say(f"reading     {described(sources)}")
    return sources


def _settings(reading: Reading, validation_fraction: float | None, seed: int, tokens_per_shard: int) -> dict[str, Any]:
    """What decides the store beside the text and the tokenizer, for the manifest."""
    return {
        "validation_fraction": DEFAULT_FRACTION if validation_fraction is None else validation_fraction,
        "validation_most_bytes": DEFAULT_MOST_BYTES if validation_fraction is None else None,
        **reading.settings(),
        "seed": seed,
        "tokens_per_shard": tokens_per_shard,
    }


def _told(prepared: TokenStore, began: float | None, reporter: Reporter) -> TokenStore:
    for what, count in prepared.manifest["remarks"].items():
        reporter.warn(counted(count, what))
    took = "" if began is None else f", in {time.perf_counter() - began:.1f} s"
    reporter.say(f"{prepared.folder}: {store_counts(prepared)}{took}")
    return prepared
