"""Sources: the files a corpus is made of, found and checked.

One idea: what a file is follows from its name, and what lies inside is never guessed. A folder gives its files of
known kinds, in an order that depends on names alone; everything left out is counted, so that it can be told.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from groundup.core.errors import GroundupError, nearest
from groundup.core.files import sha256_of

KINDS = {".txt": "text", ".md": "text", ".jsonl": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
KNOWN = ".txt .md .jsonl .csv .tsv (each also .gz) and .parquet"

_FIRST_BYTES = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip archive, as .docx and .epub are",
    b"\x1f\x8b": "compressed by gzip",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"PAR1": "a Parquet table; name it .parquet",
    b"SQLite format 3": "an SQLite database",
}
_UTF16_MARKS = {b"\xff\xfe": "UTF-16LE", b"\xfe\xff": "UTF-16BE"}


# What `groundup data clean` writes beside the text it kept: a folder with both has its text in the files part-*.
_CLEANED = {"removed.jsonl", "report.json"}


@dataclass(frozen=True)
class Source:
    """One file: `kind` is text, jsonl, csv, tsv or parquet; `is_gzip` when it is read through gzip."""

    path: Path
    kind: str
    is_gzip: bool
    n_bytes: int
    modified_ns: int

    def is_unchanged(self) -> bool:
        """Whether the file still has the size and the time it had when it was found."""
        try:
            now = self.path.stat()
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (self.n_bytes, self.modified_ns)


Paths = str | Path | Sequence[str | Path]


def list_sources(paths: Paths, remarks: Counter[str] | None = None) -> list[Source]:
    """The files under `paths` (one path or several), in the order given, folders sorted by name.

    A file met twice counts once. `remarks` is told how many files of a folder were not taken, and why. Raises
    `GroundupError` for a path that does not exist, an empty or binary file, and a folder without text.
    """
    remarks = Counter() if remarks is None else remarks
    roots = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if not roots:
        raise GroundupError("no file or folder of text was given")
    found: dict[Path, Source] = {}
    for root in roots:
        if root.is_dir():
            for path in _files_below(root):
                suffix = _suffix(path)
                if suffix not in KINDS:
                    remarks[f"{suffix or 'nameless'} files, left out"] += 1
                elif path.stat().st_size == 0:
                    remarks["empty files, left out"] += 1
                else:
                    found.setdefault(path.resolve(), _source(path))
        elif root.exists():
            if root.stat().st_size == 0:
                raise GroundupError(f"{root} is empty; give a file that holds text")
            found.setdefault(root.resolve(), _source(root))
        else:
            raise GroundupError(f"{root} does not exist{_similar(root)}")
    if not found:
        others = "; ".join(f"{count} {what}" for what, count in sorted(remarks.items()))
        raise GroundupError(
            f"{', '.join(map(str, roots))} holds no text ({others or 'it is empty'}); kinds that are read: {KNOWN}"
        )
    return list(found.values())


def hash_sources(sources: Sequence[Source], n_threads: int | None = None) -> list[str]:
    """The SHA-256 of every source: the fingerprint of a corpus. Hashing releases the GIL, so threads share it."""
    with ThreadPoolExecutor(n_threads) as threads:
        return list(threads.map(lambda source: sha256_of(source.path), sources))


def _files_below(folder: Path) -> Iterator[Path]:
    """Every file in a folder and below that is not hidden, sorted by path; links are followed, loops are not."""
    visited: set[Path] = set()

    def walk(here: Path) -> Iterator[Path]:
        if here.resolve() in visited:
            return
        visited.add(here.resolve())
        with _readable(here), os.scandir(here) as listing:
            entries = sorted((e for e in listing if not e.name.startswith(".")), key=lambda e: e.name)
        if {entry.name for entry in entries} >= _CLEANED:
            entries = [entry for entry in entries if entry.name.startswith("part-")]
        for entry in entries:
            if entry.is_dir():
                yield from walk(here / entry.name)
            elif entry.is_file():
                yield here / entry.name

    return walk(folder)


def _source(path: Path) -> Source:
    suffix = _suffix(path)
    if suffix == ".json":
        raise GroundupError(f"{path} is JSON; give one object a line, as .jsonl")
    is_gzip = path.suffix.lower() == ".gz"
    # A file that was named and has another ending (notes.rst, LICENSE) is what the person says it is: text.
    kind = KINDS.get(suffix, "text")
    with _readable(path):
        status = path.stat()
        with open(path, "rb") as file:
            head = file.read(1 << 12)
    if kind != "parquet" and not is_gzip:
        check_is_text(path, head)
    return Source(path, kind, is_gzip, status.st_size, status.st_mtime_ns)


def check_is_text(path: Path, head: bytes) -> None:
    """Refuse a file whose first bytes say that it is no text, saying what it seems to be."""
    for mark, encoding in _UTF16_MARKS.items():
        if head.startswith(mark):
            raise GroundupError(f"{path} is encoded as {encoding}, not UTF-8 (byte 0); {convert(path, encoding)}")
    for mark, what in _FIRST_BYTES.items():
        if head.startswith(mark):
            raise GroundupError(f"{path} is not text but {what}; give its text as one of {KNOWN}")
    if b"\0" in head:
        at = head.index(b"\0")
        raise GroundupError(f"{path} is a binary file (byte {at} is zero), not text; kinds that are read: {KNOWN}")


def convert(path: Path, encoding: str) -> str:
    """The command that turns a file into UTF-8."""
    return f"convert it: iconv -f {encoding} -t UTF-8 {path} > {path.with_name('utf8-' + path.name)}"


class _readable:
    """Turn the operating system's read errors on `path` into errors for people."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise GroundupError(f"{self.path} cannot be read: {error.strerror}") from error


def _suffix(path: Path) -> str:
    """`.jsonl` of both `a.jsonl` and `a.JSONL.gz`."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _similar(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (nor does the folder {path.parent})"
    guess = nearest(path.name, (entry.name for entry in path.parent.iterdir()))
    return f"; did you mean {path.with_name(guess)}?" if guess else ""
