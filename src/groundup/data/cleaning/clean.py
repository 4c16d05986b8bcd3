"""Inspecting and cleaning a corpus: the order of work.

The one idea: one stream. Documents are read, judged by all cores, compared in order, and then either counted
(`inspect_corpus`) or written (`clean`): kept ones to shards, removed ones to `removed.jsonl` with the rule, the figure
and an excerpt. The folder appears whole, at the end, or not at all; made again from the same text and settings, it is
left as it is, and interrupted, it goes on after the verdicts there are (`unfinished.py`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

import psutil

from groundup.core.device import n_cores
from groundup.core.errors import GroundupError, missing_extra
from groundup.core.files import (
    folder_written_atomically,
    read_json,
    readable_bytes,
    sha256_of,
    write_atomically,
    write_json,
)
from groundup.core.progress import QUIET, Reporter
from groundup.data.cleaning import privacy
from groundup.data.cleaning.documents import Corpus, Document
from groundup.data.cleaning.report import FORMAT, Report
from groundup.data.cleaning.rules import GROUPS
from groundup.data.cleaning.settings import CleanConfig
from groundup.data.cleaning.shards import ShardWriter
from groundup.data.cleaning.spool import Spool
from groundup.data.cleaning.survey import NEEDS, Survey, survey
from groundup.data.cleaning.together import Comparison, Item
from groundup.data.cleaning.unfinished import Unfinished, place_beside
from groundup.data.cleaning.workers import judged
from groundup.data.remarks import counted, documents
from groundup.data.sources import Paths, Source, hash_sources
from groundup.data.split import utf8_bytes

VERSION = 1  # of what the rules mean: a folder cleaned by another version is cleaned anew
REPORT, REMOVED, PAGE = "report.json", "removed.jsonl", "report.html"

# What `inspect` looks at unless told otherwise: all but the search for repeated passages, which reads twice more.
INSPECTED = tuple(group for group in GROUPS if group not in ("substrings", "block", "contamination"))

_SMALL = 4_000_000  # bytes; starting workers would take longer
# Library -> the group of rules that needs it; None: all do, since excerpts are shown without personal data.
_LIBRARIES = {"ftfy": "repair", "py3langid": "language", "phonenumbers": None, "rensa": "near"}

Numbers = dict[str, Any]


def inspect_corpus(
    paths: Paths,
    *,
    config: CleanConfig | None = None,
    n_workers: int | None = None,
    reporter: Reporter = QUIET,
    **settings: Any,
) -> Numbers:
    """Look at the text under `paths` and report, as plain JSON, what each rule would do; nothing is changed.

    `settings` are the fields of `CleanConfig` and win over `config`; without either, rules are `INSPECTED`. Each rule
    judges every document by itself, so the counts overlap. Raises `GroundupError` for a path that does not exist and for
    settings that make no sense; a file that cannot be read is part of the report.
    """
    config = _checked(config, {"rules": INSPECTED} | settings if config is None else settings)
    with tempfile.TemporaryDirectory(prefix="groundup-inspect-") as folder:
        work = _Work(paths, config, Path(folder), n_workers, reporter)
        spool = work.spool() if "substrings" in config.groups else None
        for item in work.items():
            if item.reasons:
                work.flag(item)
            if spool is not None:
                spool.add(item)
        if spool is not None:
            for item, cut in spool.cut():
                work.cut(item, cut)
        return work.numbers("inspect")


def clean(
    paths: Paths,
    out: str | Path,
    *,
    config: CleanConfig | None = None,
    n_workers: int | None = None,
    page: Callable[[Numbers], str] | None = None,
    reporter: Reporter = QUIET,
    **settings: Any,
) -> Numbers:
    """Clean the text under `paths` into the folder `out` and return the report; `settings` are the fields of `CleanConfig`
    and win over `config`.

    `out` holds `part-*.jsonl.gz` (or `.parquet`), `removed.jsonl`, `report.json`, `settings.yaml`, and with `page` (a
    function from the report to HTML) `report.html`. Killed at any moment, it is not there; the same call goes on after
    the documents that were judged, to the same bytes, and after any change it begins anew. Raises `GroundupError` as
    `inspect_corpus` does, and where `out` holds something else, lies in the text's own folder, or is being made.
    """
    config, out = _checked(config, settings), Path(out)
    _check_place(paths, out)
    sources = config.reading.sources(paths)
    hashes = hash_sources(sources)
    key = _key(config, sources, hashes)
    if (found := _cached(out, key)) is not None:
        shutil.rmtree(place_beside(out), ignore_errors=True)  # a kill may have come just before
        reporter.say(f"{out}: same text and settings as before, nothing to do")
        return found
    _clear_leftovers(out)
    unfinished, is_done = Unfinished.open(out, key, reporter), False
    try:
        numbers = _cleaned(paths, out, config, hashes, key, unfinished, n_workers, page, reporter)
        is_done = True
    except _NoText:
        is_done = True  # there is nothing to go on with
        raise
    finally:
        unfinished.close(done=is_done)
    return numbers


def _cleaned(
    paths: Paths,
    out: Path,
    config: CleanConfig,
    hashes: list[str],
    key: str,
    unfinished: Unfinished,
    n_workers: int | None,
    page: Callable[[Numbers], str] | None,
    reporter: Reporter,
) -> Numbers:
    with folder_written_atomically(out) as folder:
        (folder / "work").mkdir()
        work = _Work(paths, config, folder / "work", n_workers, reporter, hashes=hashes, unfinished=unfinished)
        writer = ShardWriter(folder, config.out_format, config.shard_size)
        with open(folder / REMOVED, "w", encoding="utf-8", errors="backslashreplace") as removed:
            spool = work.spool() if "substrings" in config.groups else None
            for item in work.items():
                if item.reasons:
                    work.remove(item, removed)
                elif spool is not None:
                    spool.add(item)
                else:
                    work.write(item, writer)
            if spool is not None:
                for item, cut in spool.cut():
                    work.cut(item, cut)
                    if item.verdict.text.strip():
                        work.write(item, writer)
                    else:
                        item.reasons.append({"rule": "characters", "figure": 0})
                        work.remove(item, removed)
        writer.finish()
        shutil.rmtree(folder / "work")
        numbers = work.numbers("clean") | {
            "key": key,
            "files": writer.files,
            "removed_sha256": sha256_of(folder / REMOVED),
        }
        config.write(folder / "settings.yaml")
        if page is not None:
            write_atomically(folder / PAGE, page(numbers))
        write_json(folder / REPORT, numbers)
    return numbers


def _checked(config: CleanConfig | None, settings: dict[str, Any]) -> CleanConfig:
    """The configuration with `settings` put in, checked as a whole."""
    checked = CleanConfig.build((config.model_dump() if config is not None else {}) | settings)
    _check_libraries(checked.groups)
    return checked


def _check_libraries(groups: frozenset[str]) -> None:
    """Name all that is missing at once: one after the other they would take as many attempts."""
    missing = [
        name for name, group in _LIBRARIES.items() if (group is None or group in groups) and find_spec(name) is None
    ]
    if missing:
        raise missing_extra(" ".join(missing), "clean", "looking at text with these rules")


class _NoText(GroundupError):
    """There is nothing to judge in what was given."""


class _Work:
    """What inspecting and cleaning share: the stream of judged and compared documents, and the report on them."""

    def __init__(
        self,
        paths: Paths,
        settings: CleanConfig,
        folder: Path,
        n_workers: int | None,
        reporter: Reporter,
        hashes: list[str] | None = None,
        unfinished: Unfinished | None = None,
    ) -> None:
        """Without `unfinished` it is a look, that is not resumed: documents are judged as they are."""
        self._left_out: Counter[str] = Counter()
        reading = settings.reading
        sources = reading.sources(paths, self._left_out)
        self._settings, self._folder, self._reporter, self._unfinished = settings, folder, reporter, unfinished
        self._is_final = unfinished is not None
        self._corpus = Corpus(sources, reading)
        self._n_file_bytes = sum(source.n_bytes for source in sources)
        self._hashes = hashes or hash_sources(sources)
        self._n_workers = n_workers or (1 if self._n_file_bytes < _SMALL else n_cores())
        self._find = privacy.finder(settings.phone_regions)
        self._report = Report(settings)
        self._survey: Survey | None = None
        self._is_blank = True  # until a document holds more than blanks

    def items(self) -> Iterator[Item]:
        """Every document, judged and compared, in order; the report has counted it."""
        settings, total = self._settings, self._n_file_bytes
        comparison = Comparison(settings, [str(s) for s in self._corpus.sources], self._is_final)
        self._left_out.update(comparison.remarks)
        if NEEDS & settings.groups:
            with self._reporter.bar("looking", total) as bar:
                look = partial(
                    survey,
                    self._corpus,
                    settings.groups,
                    boilerplate_documents=settings.boilerplate_documents,
                    seed=settings.seed,
                    advance=bar.advance,
                )
                self._survey = self._unfinished.surveyed(look) if self._unfinished else look(self._folder)
                bar.set(total)  # of an earlier attempt, perhaps
        with self._reporter.bar("judging", total) as bar:
            yield from comparison.compared(self._judged(self._corpus.documents(bar.advance)))

    def _judged(self, documents: Iterator[Document]) -> Iterator[Item]:
        findings = self._unfinished.findings if self._unfinished else self._folder
        judge = partial(
            judged, settings=self._settings, findings=findings, is_final=self._is_final, n_workers=self._n_workers
        )
        found = self._unfinished.judged(documents, judge) if self._unfinished else judge(documents)
        for document, verdict in found:
            self._is_blank = self._is_blank and not document.text.strip()
            self._report.add(document, verdict, utf8_bytes(document.text))
            yield Item(document, verdict, [{"rule": rule, "figure": figure} for rule, figure in verdict.failed])

    def spool(self) -> Spool:
        return Spool(self._folder / "kept.jsonl", self._settings.substring_characters)

    def flag(self, item: Item) -> str:
        """Count a document with reasons against it; its excerpt."""
        shown = item.verdict.excerpt
        if not shown or item.start:
            shown = privacy.excerpt(item.verdict.text, self._find, item.start)
        self._report.flag(item.document.id, item.reasons, utf8_bytes(item.document.text), shown)
        return shown

    def remove(self, item: Item, removed: TextIO) -> None:
        excerpt, document, first = self.flag(item), item.document, item.reasons[0]
        row = {"id": document.id, "source": document.source, "index": document.index, **first, "excerpt": excerpt}
        if item.verdict.language is not None:
            row["language"] = item.verdict.language
        if len(item.reasons) > 1:
            row["also"] = {reason["rule"]: reason["figure"] for reason in item.reasons[1:]}
        removed.write(json.dumps(row, ensure_ascii=False) + "\n")

    def write(self, item: Item, writer: ShardWriter) -> None:
        document, verdict = item.document, item.verdict
        n_bytes = utf8_bytes(verdict.text)
        self._report.keep(n_bytes)
        writer.add(document.id, document.source, verdict.text, verdict.edits, n_bytes)

    def cut(self, item: Item, passages: list[str]) -> None:
        """Count the passages that stand elsewhere too."""
        if passages:
            shown = privacy.excerpt(max(passages, key=len), self._find)
            self._report.edited("substrings", item.document.id, sum(map(utf8_bytes, passages)), shown)

    def numbers(self, what: str) -> Numbers:
        corpus = self._corpus
        if not self._report.n_documents and corpus.unreadable:
            raise _NoText("nothing could be read: " + "; ".join(list(corpus.unreadable.values())[:3]))
        remarks = dict(sorted((self._left_out + corpus.remarks).items()))
        if self._is_blank:
            told = "; ".join(counted(count, what) for what, count in remarks.items())
            raise _NoText(f"there is no text in it, only blanks or nothing{': ' * bool(told)}{told}")
        for reason in corpus.unreadable.values():
            self._reporter.warn(f"not read to its end: {reason}")
        return {
            "format": FORMAT,
            "version": VERSION,
            "command": what,
            "settings": self._settings.model_dump(mode="json"),
            "sources": [
                {"path": str(source), "n_bytes": source.n_bytes, "sha256": sha}
                for source, sha in zip(corpus.sources, self._hashes, strict=True)
            ],
            "unreadable": dict(corpus.unreadable),
            "remarks": remarks,
        } | self._report.as_json(self._survey)


def _key(settings: CleanConfig, sources: list[Source], hashes: list[str]) -> str:
    """One hash over all that decides what is kept."""
    versions = {}
    for library in _LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[library] = version(library)
    against = [sha256_of(path) if Path(path).is_file() else path for path in settings.against]
    names = [str(source) for source in sources]  # they are part of every id
    decisive = [VERSION, settings.model_dump(mode="json"), names, hashes, against, versions]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def _cached(out: Path, key: str) -> Numbers | None:
    """The report in `out`, if it was made from the same things and its files are as they were written."""
    with suppress(GroundupError, KeyError, TypeError, OSError):
        found = read_json(out / REPORT)
        whole = all(sha256_of(out / file["file"]) == file["sha256"] for file in found["files"])
        if found["key"] == key and whole and sha256_of(out / REMOVED) == found["removed_sha256"]:
            return found
    return None


def _check_place(paths: Paths, out: Path) -> None:
    """Refuse to replace a folder that cleaning did not make, and to write into the text's own folder."""
    for root in [paths] if isinstance(paths, str | Path) else paths:
        if Path(root).is_dir() and out.resolve().is_relative_to(Path(root).resolve()):
            raise GroundupError(f"{out} lies in {root}, the text to be cleaned; choose a place outside it")
    if out.is_file():
        raise GroundupError(f"{out} is a file; give a folder for the cleaned text")
    if out.is_dir() and any(out.iterdir()):
        with suppress(GroundupError):
            found = read_json(out / REPORT)
            if isinstance(found, dict) and found.get("format") == FORMAT:
                return
        raise GroundupError(f"{out} holds other files, which cleaning would replace; choose an empty or a new folder")


def _clear_leftovers(out: Path) -> None:
    """Remove what killed processes left beside `out`; those of running ones stay."""
    for left in out.parent.glob(f".{out.name}.*.partial"):
        number = left.name.split(".")[-2]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def summary(numbers: Numbers) -> str:
    """One line: documents and bytes, how many were kept or named by a rule."""
    kept, flagged = numbers["kept"], numbers["flagged"]
    total = f"{documents(numbers['n_documents'])}, {readable_bytes(numbers['n_bytes'])}"
    if numbers["command"] == "inspect":
        return f"{total}; {flagged['documents']:,} of them break a rule"
    return f"{total}; kept {kept['documents']:,} ({readable_bytes(kept['bytes'])}), removed {flagged['documents']:,}"
