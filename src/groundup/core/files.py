"""Files that are whole or absent: atomic writes, atomic folders, hashes, readable sizes.

Everything is first written beside its place, flushed to disk, then renamed; so a kill or a full disk leaves the
previous version as it was. A write that fails is reported as a `GroundupError` that names the path and the free space.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from groundup.core.errors import GroundupError

_BAD_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),  # not ours to write
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),  # the path itself
)


@contextmanager
def clear_write_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's write errors (full disk, no permission) on `path` into errors for people."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise GroundupError(
                f"the disk is full: could not write {path} ({readable_bytes(free_bytes(path))} free); "
                "what was there before is untouched; free some space and run the command again"
            ) from error
        # The folder is there and takes no file, as in /proc; where it is gone, whoever wanted it is gone too.
        unmade = error.errno == errno.ENOENT and str(error.filename).endswith(f".{os.getpid()}.partial")
        unmade = unmade and path.parent.is_dir()
        if error.errno in _BAD_PLACE or unmade:
            raise GroundupError(f"cannot write {path}: {error.strerror}; choose another place") from error
        raise


def free_bytes(path: Path) -> int:
    """Free bytes on the file system that holds `path`, or its nearest parent that exists."""
    place = path
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def flush_to_disk(path: Path) -> None:
    """fsync a file or a folder, so that a rename that follows it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: str | Path, content: str | bytes | bytearray) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part."""
    path = Path(path)
    # A file name that is not UTF-8 reaches us as lone surrogates; JSON and YAML read their escapes back unchanged.
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with clear_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with file_written_atomically(path) as file:
        file.write(data)


@contextmanager
def file_written_atomically(path: Path) -> Iterator[BinaryIO]:
    """Give a temporary file to write to; on success it becomes `path`, on an error it vanishes. The folder must exist."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with clear_write_errors(path):
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            flush_to_disk(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_atomically(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder to fill; on success it becomes `path` (replacing a folder), on an error it vanishes.

    Raises `GroundupError` where `path` is a file, or the folder that the process stands in: a shell would be left
    standing in the one that was replaced.
    """
    path = Path(path)
    with clear_write_errors(path):
        if path.exists() and not path.is_dir():
            raise GroundupError(f"{path} is a file, and a folder is to be written; choose another place")
        if path.absolute() == Path.cwd():
            raise GroundupError(f"{path} is the folder you are in, which would be replaced; give a new folder in it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    retired = path.with_name(f".{path.name}.{os.getpid()}.retired")
    with clear_write_errors(path):
        recover_retired(path)
        shutil.rmtree(temporary, ignore_errors=True)  # a killed process may have had this one's number
        shutil.rmtree(retired, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for entry in temporary.rglob("*"):
                flush_to_disk(entry)
            flush_to_disk(temporary)
            if path.exists():
                os.rename(path, retired)
            os.rename(temporary, path)
            flush_to_disk(path.parent)
        finally:
            if not path.exists() and retired.exists():
                os.rename(retired, path)
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(retired, ignore_errors=True)


def lock_folder(path: Path) -> int:
    """Lock a folder for this process by its `.lock`; the lock goes with the descriptor returned, or with the process.

    Raises `GroundupError` while another process holds it.
    """
    with clear_write_errors(path):
        lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode().strip() or "unknown"
        os.close(lock)
        raise GroundupError(
            f"{path} is being written by another process (number {holder}); wait for it, or stop it first"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def recover_retired(path: str | Path) -> None:
    """Bring `path` back when a kill struck between the two renames that replace a folder.

    `folder_written_atomically` retires the old folder just before the new one takes its name. Killed in
    that instant, only the retired name is left; call this before opening `path`.
    """
    path = Path(path)
    if not path.exists():
        for retired in sorted(path.parent.glob(f".{path.name}.*.retired")):
            os.rename(retired, path)
            break


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as readable JSON, atomically, keys in the order given."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a broken one is named, with line and column."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GroundupError(f"{path} is missing") from None
    except OSError as error:
        raise GroundupError(f"{path} cannot be read: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise GroundupError(f"{path} is not valid JSON: {error}") from None


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def readable_bytes(n_bytes: float) -> str:
    """`1536` as `1.5 kB` (powers of 1000, as disks and networks count)."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(n_bytes) < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"
