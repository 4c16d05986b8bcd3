"""Sources: the files a corpus is made of, found and checked.

One idea: what a file is follows from its name, and its first bytes may only contradict. A folder (a zip archive is one,
an `s3://` prefix is one) gives its files of known formats, in an order that depends on names alone; everything left out is
counted, so that it can be told.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from groundup.core.errors import GroundupError, nearest
from groundup.core.files import readable_bytes
from groundup.data.compression import COMPRESSIONS, Unpacked, open_member, zip_members
from groundup.data.remarks import Unreadable, count_first
from groundup.data.remote import Place, Url, is_url, open_remote, remote_files, remote_stamp

SUFFIXES = {
    **dict.fromkeys((".txt", ".text"), "text"),
    **dict.fromkeys((".md", ".markdown"), "markdown"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".tsv", ".tab"), "tsv"),
    **dict.fromkeys((".arrow", ".feather"), "arrow"),
    **{f".{name}": name for name in ("pdf", "docx", "json", "csv", "parquet")},
}
FORMATS = (*dict.fromkeys(SUFFIXES.values()), "label-lines")  # the last has no suffix: it is asked for by name
KNOWN = (
    ".txt .md .html .jsonl .json .csv .tsv (each also .gz .bz2 .xz .zst), .pdf .docx .parquet .arrow, .zip of these, "
    "s3:// gs:// https:// and hf:ORGANISATION/NAME"
)
TOKEN_SUFFIX = ".bin"

_BINARY = ("pdf", "docx", "parquet", "arrow")
_FIRST_BYTES = {
    b"%PDF": ("a PDF", "pdf"),
    b"PK\x03\x04": ("a zip archive, as .docx and .epub are", "docx"),
    b"\x1f\x8b": ("compressed by gzip; name it .gz", None),
    b"BZh": ("compressed by bzip2; name it .bz2", None),
    b"\xfd7zXZ": ("compressed by xz; name it .xz", None),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd; name it .zst", None),
    b"\x89PNG": ("a PNG picture", None),
    b"\xff\xd8\xff": ("a JPEG picture", None),
    b"PAR1": ("a Parquet table", "parquet"),
    b"ARROW1": ("an Arrow table", "arrow"),
    b"SQLite format 3": ("an SQLite database", None),
}


# What `groundup data clean` writes beside the text it kept: a folder with both has its text in the files part-*.
_CLEANED = {"removed.jsonl", "report.json"}


@dataclass(frozen=True)
class Source:
    """One file: `kind` is its format; `n_bytes` its size, unpacked if it lies in a zip; `stamp` tells a change.

    `origin` is the name to tell people where `path` is only a copy of it: a file of the hub, with its revision.
    `named` is False for what was found in a folder: if it cannot be read it is counted, not fatal.
    """

    path: Place
    kind: str
    compression: str | None
    n_bytes: int
    stamp: str
    member: str | None = None
    origin: str | None = None
    named: bool = True

    def __str__(self) -> str:
        return self.origin or (f"{self.path}/{self.member}" if self.member else str(self.path))

    def is_unchanged(self) -> bool:
        """Whether the file still has the size and the time (or the etag) it had when it was found."""
        if isinstance(self.path, Url):
            return remote_stamp(self.path) == self.stamp
        try:
            return _stamp(self.path.stat()) == self.stamp
        except OSError:
            return False

    def open(self) -> BinaryIO:
        """Its bytes, unpacked, as a stream to be closed. Raises `GroundupError` when it cannot be read."""
        with _readable(self.path):
            if isinstance(self.path, Url):
                file = open_remote(self.path)
            elif self.member:
                file = open_member(self.path, self.stamp, self.member)
            else:
                file = self.path.open("rb")
        return cast(BinaryIO, Unpacked(file, self.compression, self)) if self.compression else file

    @property
    def place(self) -> Place:
        """Where a document of this source says that it comes from."""
        return Path(str(self)) if self.member or self.origin else self.path


Paths = str | Path | Sequence[str | Path]


def list_sources(
    paths: Paths, remarks: Counter[str] | None = None, *, format: str | None = None, encoding: str | None = None
) -> list[Source]:
    """The files under `paths` (one path, URL or `hf:` name, or several), in the order given, folders sorted by name.

    A file met twice counts once. `remarks` is told how many files of a folder were not taken, and why. `format` (one of
    `FORMATS`) is taken for that of every file; `encoding` says that files need not look like UTF-8. Raises
    `GroundupError` for a path that does not exist, an empty or binary file, and a folder without text.
    """
    remarks = Counter() if remarks is None else remarks
    roots = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if not roots:
        raise GroundupError("no file or folder of text was given")
    finder = _Finder(remarks, format, encoding)
    for root in roots:
        if root.startswith("hf:"):
            from groundup.data.hub import fetch

            files, folder, origin = fetch(root, remarks)
            finder.files(files, folder, origin)
        elif is_url(root):
            finder.url(root)
        elif Path(root).is_dir():
            finder.files(_files_below(Path(root), remarks), Path(root))
        elif Path(root).exists():
            finder.named(Path(root))
        else:
            raise GroundupError(f"{root} does not exist{_similar(Path(root))}")
    if not finder.found:
        others = "; ".join(f"{count} {what}" for what, count in sorted(remarks.items()))
        raise GroundupError(
            f"{', '.join(roots)} holds no text ({others or 'it is empty'}); formats that are read: {KNOWN}"
        )
    return list(finder.found.values())


class _Finder:
    """Gathers sources in order, each once."""

    def __init__(self, remarks: Counter[str], format: str | None, encoding: str | None) -> None:
        self.found: dict[object, Source] = {}
        self._remarks = remarks
        self._format = format
        self._encoding = encoding

    def named(self, path: Path, origin: str | None = None) -> None:
        with _readable(path):
            status = path.stat()
        if status.st_size == 0:
            raise GroundupError(f"{path} is empty; give a file that holds text")
        if path.suffix.lower() == ".zip" and self._format != "docx":
            self._zip(path, _stamp(status), origin)
            return
        kind, compression = self._kind(path.name, path)
        with _readable(path), open(path, "rb") as file:
            head = file.read(1 << 12)
        self._add(Source(path, kind, compression, status.st_size, _stamp(status), origin=origin), head)

    def files(self, paths: Iterable[Path], folder: Path, origin: str | None = None) -> None:
        """The files of known formats among those of a folder; `origin` is what people call the folder."""
        taken = len(self.found)
        for path in paths:
            label = f"{origin}/{path.relative_to(folder).as_posix()}" if origin else None
            if path.suffix.lower() == ".zip" and path.stat().st_size:
                self._zip(path, _stamp(path.stat()), label, named=False)
            elif self._is_known(path.name, path.stat().st_size):
                status = path.stat()
                kind, compression = self._kind(path.name, path)
                self._add(Source(path, kind, compression, status.st_size, _stamp(status), None, label, named=False))
        if origin and len(self.found) == taken:
            raise GroundupError(f"{origin} holds no file of a known format; formats that are read: {KNOWN}")

    def url(self, url: str) -> None:
        files, is_folder = remote_files(url)
        for file in files:
            if file.place.suffix.lower() == ".zip":
                raise GroundupError(f"{file.place}: a zip archive is read from a disk only; copy it here first")
            if is_folder and not self._is_known(file.place.name, file.n_bytes):
                continue
            kind, compression = self._kind(file.place.name, file.place)
            source = Source(file.place, kind, compression, file.n_bytes, file.stamp, named=not is_folder)
            with closing(open_remote(file.place)) as opened:
                head = opened.read(1 << 12)
            self._add(source, head if source.named else None)

    def _zip(self, path: Path, stamp: str, origin: str | None, named: bool = True) -> None:
        try:
            members = zip_members(path)
        except Unreadable as error:
            if named:
                raise
            count_first(self._remarks, f"files left out: {error.reason}", path)
            return
        taken = len(self.found)
        for member in members:
            if self._is_known(member.filename, member.file_size):
                kind, compression = self._kind(member.filename, path)
                label = f"{origin}/{member.filename}" if origin else None
                self._add(Source(path, kind, compression, member.file_size, stamp, member.filename, label, named=False))
        if named and len(self.found) == taken:
            raise GroundupError(f"{path} holds no file of a known format; formats that are read: {KNOWN}")

    def _is_known(self, name: str, n_bytes: int) -> bool:
        suffix = _suffix(name)
        if suffix == TOKEN_SUFFIX:
            self._remarks["token files (.bin), left out: they are read when they are named"] += 1
        elif suffix not in SUFFIXES:
            self._remarks[f"{suffix or 'nameless'} files, left out"] += 1
        elif n_bytes == 0:
            self._remarks["empty files, left out"] += 1
        return suffix in SUFFIXES and n_bytes > 0

    def _kind(self, name: str, place: Place) -> tuple[str, str | None]:
        # A file that was named and has another ending (notes.rst, LICENSE) is what the person says it is: text.
        kind = self._format or SUFFIXES.get(_suffix(name), "text")
        compression = COMPRESSIONS.get(PurePosixPath(name.lower()).suffix)
        if compression and kind in _BINARY and kind not in ("pdf", "docx"):
            raise GroundupError(f"{place}: {kind} is packed inside already; unpack the {compression} first")
        if _suffix(name) == TOKEN_SUFFIX and self._format is None:
            raise GroundupError(
                f"{place} has the name of a file of tokens (.bin, as nanoGPT's and llm.c's), not of text; if it is one: "
                f"groundup data prepare {place} --tokenizer ITS_TOKENIZER --out data/"
            )
        return kind, compression

    def _add(self, source: Source, head: bytes | None = None) -> None:
        if head is not None and source.kind not in _BINARY and not source.compression and not self._encoding:
            check_is_text(source, head)
        key = (source.path.resolve(), source.member)
        self.found.setdefault(key, source)


def described(sources: Sequence[Source]) -> str:
    """What a corpus is made of, aloud: `3 text, 12 jsonl files, 4.2 MB`."""
    kinds = Counter(source.kind for source in sources)
    counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    size = readable_bytes(sum(source.n_bytes for source in sources))
    return f"{counts} file{'s' * (len(sources) != 1)}, {size}"


def hash_sources(sources: Sequence[Source], n_threads: int | None = None) -> list[str]:
    """The SHA-256 of every source (of a file in a zip: of the whole archive): the fingerprint of a corpus."""
    places = list(dict.fromkeys(source.path for source in sources))
    with ThreadPoolExecutor(n_threads) as threads:  # hashing releases the GIL, so threads share it
        hashes = dict(zip(places, threads.map(_sha256, places), strict=True))
    return [hashes[source.path] for source in sources]


def _sha256(place: Place) -> str:
    digest = hashlib.sha256()
    with _readable(place), closing(open_remote(place) if isinstance(place, Url) else open(place, "rb")) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _files_below(folder: Path, remarks: Counter[str]) -> Iterator[Path]:
    """Every file in a folder and below that is not hidden, sorted by path; links are followed, loops are not."""
    visited: set[Path] = set()

    def walk(here: Path) -> Iterator[Path]:
        if here.resolve() in visited:
            return
        visited.add(here.resolve())
        if (saved := _saved_dataset(here, remarks)) is not None:
            for part in saved:
                if part.is_dir():
                    yield from walk(part)
                else:
                    yield part
            return
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


def _saved_dataset(folder: Path, remarks: Counter[str]) -> list[Path] | None:
    """What `datasets.save_to_disk` put into `folder`, in its order; None when it did not.

    A dictionary of splits gives its training split: the others are there to measure with.
    """
    for name in ("dataset_dict.json", "state.json"):
        if not (folder / name).is_file():
            continue
        try:
            state = json.loads((folder / name).read_text(encoding="utf-8"))
            if name == "state.json":
                return [folder / Path(file["filename"]).name for file in state["_data_files"]]  # never elsewhere
            splits = [Path(split).name for split in state["splits"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        others = [split for split in splits if split != "train"] if "train" in splits else []
        for split in others:
            count_first(
                remarks, "splits beside the training split, left out (give its folder to read one)", folder / split
            )
        return [folder / split for split in splits if split not in others]
    return None


def check_is_text(source: Source, head: bytes) -> None:
    """Refuse a file whose first bytes say that it is no text, saying what it seems to be."""
    for mark, (what, format) in _FIRST_BYTES.items():
        if head.startswith(mark):
            way_out = f"; read it as one with format {format}" if format else f"; formats that are read: {KNOWN}"
            raise Unreadable(source, f"not text but {what}{way_out}")
    if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        at = head.index(b"\0")
        raise Unreadable(
            source,
            f"a binary file (byte {at} is zero), not text; if it is UTF-16 without a mark, give encoding utf-16-le or "
            f"utf-16-be; formats that are read: {KNOWN}",
        )


class _readable:
    """Turn the operating system's read errors on `path` into errors for people."""

    def __init__(self, path: object) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise GroundupError(f"{self.path} cannot be read: {error.strerror or error}") from error
        if isinstance(self.path, Url) and isinstance(error, Exception) and not isinstance(error, GroundupError):
            raise GroundupError(f"{self.path} cannot be read: {type(error).__name__}: {error}") from error


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size} bytes, {status.st_mtime_ns}"


def _suffix(name: str) -> str:
    """`.jsonl` of both `a.jsonl` and `a.JSONL.gz`."""
    path = PurePosixPath(name.lower())
    return PurePosixPath(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


def _similar(path: Path) -> str:
    if path.is_symlink():
        return f" (it is a link to {os.readlink(path)})"
    if not path.parent.is_dir():
        return f" (nor does the folder {path.parent})"
    guess = nearest(path.name, (entry.name for entry in path.parent.iterdir()))
    return f"; did you mean {path.with_name(guess)}?" if guess else ""
