"""Files that lie elsewhere (`s3://bucket/corpus/`), opened through fsspec and streamed, never copied whole.

One idea: a `Url` stands where a local path would, with the few things reading asks of a path. Its stamp is the etag
the store gives (or size and time), so that a change while it is read is noticed as it is on a disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from groundup.core.errors import GroundupError, missing_extra

# Protocol -> the library fsspec needs for it.
PROTOCOLS = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "memory": "fsspec",
}

_BLOCK_BYTES = 4 << 20  # one request reads this much ahead


@dataclass(frozen=True)
class Url:
    """A remote file: what a `Path` is for a local one, as far as reading asks."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of the path, without the query."""
        return PurePosixPath(urlsplit(self.url).path).name

    @property
    def suffix(self) -> str:
        """The ending of the name."""
        return PurePosixPath(self.name).suffix

    def resolve(self) -> Url:
        """Itself: what tells that two are one file."""
        return self


Place = Path | Url
"""Where a file lies, here or elsewhere; both have `name`, `suffix` and their whole as `str`."""


@dataclass(frozen=True)
class RemoteFile:
    """What a store says about a file."""

    place: Url
    n_bytes: int
    stamp: str


def is_url(path: object) -> bool:
    """Whether a path a person gave names a protocol (`s3://...`)."""
    return "://" in str(path)


def remote_files(url: str) -> tuple[list[RemoteFile], bool]:
    """The file at `url`, or all below it in the order of their names; and whether it is a folder.

    Raises `GroundupError` for an unknown protocol, a missing library, and what the store refuses.
    """
    protocol = url.split("://")[0]
    files = _file_system(url)
    with _told(url):
        if protocol in ("http", "https"):  # a web server has no folders
            return [_described(url, files.info(url))], False
        if files.isfile(url):
            return [_described(url, files.info(url))], False
        found = files.find(url, detail=True)
        if not found:
            raise GroundupError(f"{url} does not exist or holds nothing")
        rows = sorted(cast("dict[str, dict[str, Any]]", found).items())
        return [_described(f"{protocol}://{name.lstrip('/')}", info, files) for name, info in rows], True


def open_remote(place: Url) -> BinaryIO:
    """Open for reading from the beginning; seeking works where the store allows ranges."""
    files = _file_system(place.url)
    with _told(place.url):
        return cast(BinaryIO, files.open(place.url, "rb", block_size=_BLOCK_BYTES))


def remote_stamp(place: Url) -> str | None:
    """The stamp of a remote file now; None when it is gone. Raises `GroundupError` when its store does not answer."""
    files = _file_system(place.url)
    with _told(place.url):
        files.invalidate_cache()
        try:
            return _described(place.url, files.info(place.url)).stamp
        except FileNotFoundError:
            return None


def _described(url: str, info: dict[str, Any], files: Any = None) -> RemoteFile:
    """What `info` says of a file; `files` is asked again where a listing has no etag and may spell times otherwise."""
    etag = next((info[name] for name in ("ETag", "etag", "md5Hash", "md5") if info.get(name)), None)
    if etag is None and files is not None:
        info = files.info(url)
    time = next((str(info[name]) for name in ("LastModified", "mtime", "updated", "created") if info.get(name)), "")
    size = info.get("size")
    stamp = f"etag {str(etag).strip(chr(34))}" if etag else f"{size} bytes, {time}"
    return RemoteFile(Url(url), int(size or 0), stamp)


def _file_system(url: str) -> Any:
    protocol = url.split("://")[0].lower()
    if protocol not in PROTOCOLS:
        known = ", ".join(f"{name}://" for name in PROTOCOLS)
        raise GroundupError(f"{url}: unknown protocol {protocol!r} (known: {known})")
    try:
        import fsspec

        return fsspec.filesystem(protocol)
    except ImportError:
        raise missing_extra(PROTOCOLS[protocol], "remote", f"reading {url}") from None


class _told:
    """Turn what a store refuses into errors for people."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError):
            raise GroundupError(f"{self.url} does not exist") from error
        if isinstance(error, Exception) and not isinstance(error, GroundupError):
            # Stores raise their client's own errors: no credentials, no network, no permission.
            raise GroundupError(f"{self.url} cannot be read: {type(error).__name__}: {error}") from error
