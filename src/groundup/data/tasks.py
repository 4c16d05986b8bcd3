"""Preparation in tasks, so that many workers make the store that one stream would have made, byte for byte.

One idea: what follows from a few files alone is made by whoever has time, what follows from all of them is made once,
from small things, in the order of the files. A task is a run of sources; it depends on sizes, never on workers.

    survey k   hash and count the sources of task k                     survey-00000.npz
    settle     add up the counts in order, decide the split             plan.npz
    encode k   the units of task k as tokens, one row a split           part-00000-train.tokens ..., part-00000.npz
    assemble   all rows in order, cut into shards by the stream's rule  the store

Every file is written whole or not at all and lies in `preparing/ID/`, where the ID is a hash of all that is asked for; so a
stage asked again does what is missing, and never takes up the work of another corpus.
(MapReduce: Dean & Ghemawat 2004, sections 2 and 3.3.)
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from groundup.core.errors import GroundupError
from groundup.core.files import clear_write_errors, file_written_atomically, read_json, write_json
from groundup.core.progress import Reporter
from groundup.data.reading import Reading
from groundup.data.remarks import add_remarks
from groundup.data.remote import Url, is_url
from groundup.data.sources import Source, hash_sources
from groundup.data.split import Counts, Survey, check_unchanged, count, decide, sided_pieces
from groundup.data.store import SPLITS, TokenStore, token_dtype
from groundup.data.store_writing import PARTS, Journal, ShardWriter, end_of_text, finish_store, store_key
from groundup.data.units import encode_units, units_of

if TYPE_CHECKING:
    from groundup.tokenization.tokenizer import Tokenizer

TASK_BYTES = (1 << 22, 1 << 27)  # of sources, at least and at most: what a killed worker has to do again
FEWEST_TASKS = 16  # if the text is enough for so many: workers end together
STAGES = ("survey", "encode")  # those that have tasks

_TOKENS_HELD = 1 << 20
_WORK = "work.json"


@dataclass(frozen=True)
class Work:
    """What is to be prepared, as a folder tells every worker; `tasks` are (first source, end) of each."""

    out: Path
    folder: Path
    sources: list[Source]
    reading: Reading
    settings: dict[str, Any]
    remarks: dict[str, int]  # of what was found and not taken
    tasks: list[tuple[int, int]]
    cwd: str

    @classmethod
    def begin(
        cls,
        out: Path,
        tokenizer: Tokenizer,
        sources: Sequence[Source],
        reading: Reading,
        settings: dict[str, Any],
        remarks: Mapping[str, int],
    ) -> Work:
        """Describe the work on disk; take up what an interrupted attempt at the very same work has finished."""
        description = {
            "sources": [asdict(source) | {"path": str(source.path)} for source in sources],
            "reading": {**vars(reading), "map": dict(reading.map)},
            "settings": settings,
            "remarks": dict(remarks),
            "tasks": _cut([source.n_bytes for source in sources]),
            "cwd": os.getcwd(),  # which names of sources may be relative to
        }
        decisive = [tokenizer.sha256, tokenizer.vocab_size, tokenizer.eos_id, description]
        folder = out.absolute() / PARTS / hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:16]
        with clear_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for other in set(folder.parent.iterdir()) - {folder}:
                shutil.rmtree(other, ignore_errors=True)
        tokenizer.save(folder / "tokenizer")
        write_json(folder / _WORK, description)
        return replace(cls.open(folder), out=out)

    @classmethod
    def open(cls, folder: Path) -> Work:
        """Read what is to be done."""
        found = read_json(folder / _WORK)
        sources = [
            Source(**record | {"path": Url(path) if is_url(path := record["path"]) else Path(path)})
            for record in found.pop("sources")
        ]
        reading, tasks = Reading(**found.pop("reading")), [(a, b) for a, b in found.pop("tasks")]
        return cls(folder.parent.parent, folder, sources, reading, tasks=tasks, **found)

    def tokenizer(self) -> Tokenizer:
        """The tokenizer, as each worker loads it."""
        from groundup.tokenization.tokenizer import Tokenizer

        return Tokenizer.load(self.folder / "tokenizer")

    def file(self, stage: str, task: int) -> Path:
        """What says that a task of a stage is finished."""
        return self.folder / f"{stage}-{task:05d}.npz"

    def unfinished(self, stage: str) -> list[int]:
        """The tasks of a stage that are still to do."""
        return [k for k in range(len(self.tasks)) if not self.file(stage, k).exists()]

    def task_sources(self, task: int) -> list[Source]:
        begin, end = self.tasks[task]
        return self.sources[begin:end]


Advance = Callable[[int], None]


def run_task(
    work: Work, stage: str, task: int, n_threads: int | None = 1, advance: Advance = lambda n_bytes: None
) -> None:
    """Do a task of a stage; one that is finished is left as it is. `advance` hears bytes (of files, or of text)."""
    if not work.file(stage, task).exists():
        {"survey": _survey, "encode": _encode}[stage](work, task, n_threads, advance)


def _survey(work: Work, task: int, n_threads: int | None, advance: Advance) -> None:
    sources, remarks = work.task_sources(task), Counter[str]()
    hashes = hash_sources(sources, n_threads)
    counts = count(sources, work.reading, work.settings["seed"], remarks, advance)
    for source in sources:
        check_unchanged(source)
    used = np.flatnonzero(counts.bucket_bytes)
    facts = {"n_documents": counts.n_documents, "n_bytes": counts.n_bytes, "hashes": hashes, "remarks": dict(remarks)}
    lengths = np.array(counts.lengths, np.int64)
    _write_arrays(work.file("survey", task), facts, buckets=used, sizes=counts.bucket_bytes[used], lengths=lengths)


@dataclass(frozen=True)
class Plan:
    """What follows from all sources: the key of the store, the split; of each task its first document and its text's bytes."""

    key: str
    hashes: list[str]
    remarks: dict[str, int]
    found: Survey
    first_documents: list[int]
    task_bytes: list[int]


def settle(work: Work, tokenizer: Tokenizer) -> Plan:
    """Add up the surveys, in order, and decide; what was decided is kept. Raises `GroundupError` as a survey does."""
    path = work.folder / "plan.npz"
    if path.exists():
        facts, arrays = _read_arrays(path)
        survey = Survey(
            **facts.pop("found"), sides=arrays["sides"].tobytes(), borders=tuple(arrays["borders"].tolist())
        )
        return Plan(**facts, found=survey)
    counts, hashes, remarks = Counts(), [], Counter(work.remarks)
    first_documents, task_bytes = [], []
    for task in range(len(work.tasks)):
        facts, arrays = _read_arrays(work.file("survey", task))
        first_documents.append(counts.n_documents)
        task_bytes.append(facts["n_bytes"])
        counts.add(facts["n_documents"], arrays["buckets"], arrays["sizes"], arrays["lengths"].tolist())
        hashes += facts["hashes"]
        add_remarks(remarks, facts["remarks"])
    settings = work.settings
    fraction = settings["validation_fraction"] if settings["validation_most_bytes"] is None else None
    found = decide(counts, work.sources, work.reading, fraction, settings["seed"], remarks)
    key = store_key(tokenizer, settings, work.sources, hashes)
    plan = Plan(key, hashes, dict(remarks), found, first_documents, task_bytes)
    facts = vars(plan) | {"found": {name: getattr(found, name) for name in ("n_documents", "n_bytes", "by", "seed")}}
    sides, borders = np.frombuffer(found.sides, np.uint8), np.array(found.borders, np.int64)
    _write_arrays(path, facts, sides=sides, borders=borders)
    return plan


def _encode(work: Work, task: int, n_threads: int | None, advance: Advance) -> None:
    tokenizer, remarks = work.tokenizer(), Counter[str]()
    plan = settle(work, tokenizer)
    with ExitStack() as stack:
        writers = [
            _PartWriter(
                stack.enter_context(file_written_atomically(_tokens_file(work, task, name))),
                end_of_text(tokenizer),
                token_dtype(tokenizer.vocab_size),
            )
            for name in SPLITS
        ]
        pieces = sided_pieces(
            work.task_sources(task), work.reading, plan.found, first_document=plan.first_documents[task]
        )
        encode_units(units_of(pieces, tokenizer.safe_cut, remarks), tokenizer, n_threads, writers, advance)
        arrays: dict[str, np.ndarray] = {}
        for name, writer in zip(SPLITS, writers, strict=True):
            arrays |= {f"{name}_{what}": values for what, values in writer.finish().items()}
    _write_arrays(work.file("encode", task), {"remarks": dict(remarks)}, **arrays)


def _tokens_file(work: Work, task: int, split: str) -> Path:
    return work.folder / f"part-{task:05d}-{split}.tokens"


class _PartWriter:
    """Takes the units of a split as `ShardWriter` does, and writes one row of tokens whatever their number."""

    def __init__(self, file: BinaryIO, eos_id: int, dtype: np.dtype) -> None:
        self.n_units = 0  # none that could be skipped
        self._file = file
        self._eos = np.array([eos_id], dtype)
        self._dtype = dtype
        self._held: list[np.ndarray] = []
        self._n_held = 0
        self._sizes, self._n_bytes, self._ends = array("Q"), array("Q"), bytearray()

    def add(self, ids: np.ndarray, ends: bool, n_bytes: int) -> None:
        self._held.append(ids.astype(self._dtype))  # a copy, as in `ShardWriter.add`
        if ends:
            self._held.append(self._eos)
        self._sizes.append(len(ids) + ends)
        self._ends.append(ends)
        self._n_bytes.append(n_bytes)
        self._n_held += len(ids) + ends
        if self._n_held >= _TOKENS_HELD:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            self._file.write(np.concatenate(self._held).data)
        self._held, self._n_held = [], 0

    def finish(self) -> dict[str, np.ndarray]:
        """Write the rest; gives what there is to say of each unit."""
        self._flush()
        return {
            "sizes": np.array(self._sizes, np.int64),
            "ends": np.frombuffer(self._ends, np.bool_),
            "n_bytes": np.array(self._n_bytes, np.int64),
        }


def assemble(work: Work, tokenizer: Tokenizer, reporter: Reporter) -> TokenStore:
    """Cut the parts, in order, into shards; finished shards of an interrupted attempt are kept."""
    plan = settle(work, tokenizer)
    out, remarks, dtype = work.out, Counter(plan.remarks), token_dtype(tokenizer.vocab_size)
    journal = Journal.open(out, plan.key)
    if journal.n_shards:
        reporter.say(f"{out}: going on after {journal.n_shards} finished shards")
    tokenizer.save(out / "tokenizer")
    eos_id, tokens_per_shard = end_of_text(tokenizer), work.settings["tokens_per_shard"]
    writers = {name: ShardWriter(out, journal, name, eos_id, dtype, tokens_per_shard) for name in SPLITS}
    to_skip = {name: writer.n_units for name, writer in writers.items()}
    with reporter.bar("assembling", plan.found.n_bytes) as bar:
        for task in range(len(work.tasks)):
            facts, arrays = _read_arrays(work.file("encode", task))
            add_remarks(remarks, facts["remarks"])
            for name, writer in writers.items():
                sizes, ends, n_bytes = (arrays[f"{name}_{what}"] for what in ("sizes", "ends", "n_bytes"))
                skipped = min(to_skip[name], len(sizes))
                to_skip[name] -= skipped
                tokens = _mapped(_tokens_file(work, task, name), dtype)[int(sizes[:skipped].sum()) :]
                writer.add_run(tokens, sizes[skipped:], ends[skipped:], n_bytes[skipped:])
                bar.advance(int(n_bytes.sum()))
        for writer in writers.values():
            writer.finish()
    return finish_store(out, journal, tokenizer, work.settings, plan.found, remarks, work.sources, plan.hashes)


def _mapped(path: Path, dtype: np.dtype) -> np.ndarray:
    return np.asarray(np.memmap(path, dtype, "r")) if path.stat().st_size else np.empty(0, dtype)


def _cut(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of sources, each ended by the one that fills it. A source is never cut."""
    tasks, begin, held = [], 0, 0
    least, most = TASK_BYTES
    full = min(max(sum(sizes) // FEWEST_TASKS, least), most)
    for end, size in enumerate(sizes, 1):
        held += size
        if held >= full or end == len(sizes):
            tasks.append((begin, end))
            begin, held = end, 0
    return tasks


def _write_arrays(path: Path, facts: dict[str, Any], **arrays: Any) -> None:
    """Arrays and what else there is to say (as JSON among them), in one file that is whole or absent."""
    # Not where the folder is gone: a worker that outlived its preparation must not bring it back.
    with file_written_atomically(path) as file:
        np.savez(file, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)


def _read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with np.load(path) as found:
            arrays = {name: found[name] for name in found.files}
    except FileNotFoundError:
        raise GroundupError(
            f"{path} is missing; run the same `groundup data prepare` again: it makes what is missing"
        ) from None
    return json.loads(arrays.pop("facts").tobytes()), arrays
