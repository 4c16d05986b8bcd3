"""Verification of sources: is the text that a store was made of still the text that lies there?

One idea: the manifest names every source with its SHA-256, so the question is asked again before every training, by
hashing what is still there (a size and a time would believe whoever sets them). A source that changed is refused by
name. One that is gone is only told: a store is whole without it. Remote files are compared by the stamp their store
gives (an etag), if it can be asked within seconds; a dataset of the hub is a commit, so what lies in the cache is hashed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from groundup.core.errors import GroundupError
from groundup.core.files import readable_bytes, sha256_of
from groundup.core.progress import QUIET, Reporter
from groundup.data.hub import cached_file
from groundup.data.remote import Url, is_url, remote_stamp
from groundup.data.sources import Source
from groundup.data.store import TokenStore

ChangedSources = Literal["refuse", "accept", "ignore"]

_REMOTE_SECONDS = 20.0  # to wait for all stores of remote files together: a machine without network must train too
_SHOWN = 3


@dataclass(frozen=True)
class Verified:
    """What became of the sources of one or several stores: names as their manifests have them."""

    n_same: int
    n_bytes: int  # hashed
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    not_asked: tuple[str, ...] = ()  # remote, and their store did not answer


def source_record(source: Source, sha256: str) -> dict[str, Any]:
    """What a manifest says of a source: enough to find it again, from any folder, and to know it."""
    is_remote = isinstance(source.path, Url)
    name = str(source) if is_remote or source.origin else os.path.abspath(str(source))
    record: dict[str, Any] = {"path": name, "kind": source.kind, "n_bytes": source.n_bytes, "sha256": sha256}
    if source.member:
        record["member"] = source.member
    if is_remote:
        record["stamp"] = source.stamp
    return record


def verify_sources(
    stores: Sequence[TokenStore], changed_sources: ChangedSources = "refuse", *, reporter: Reporter = QUIET
) -> Verified:
    """Compare the sources of `stores` with the manifests and say what was found.

    About 1 GB/s a core. Raises `GroundupError` for a changed source, unless `changed_sources` is `accept` (it is told)
    or `ignore` (nothing is read).
    """
    if changed_sources == "ignore":
        return Verified(0, 0)
    records = {record["path"]: record for store in stores for record in store.manifest["sources"]}
    local: dict[Path, list[dict[str, Any]]] = {}  # the members of an archive share its hash
    remote, gone = [], []
    for name, record in records.items():
        if is_url(name):
            remote.append(record)
        elif (path := _local_file(record)) is not None and path.is_file():
            local.setdefault(path, []).append(record)
        else:
            gone.append(name)

    changed, n_bytes = [], sum(path.stat().st_size for path in local)
    with reporter.bar("verifying", n_bytes) as bar:
        for path, sha in _hashes(local):
            bar.advance(path.stat().st_size)
            changed += [record["path"] for record in local[path] if record["sha256"] != sha]
    stamps = _remote_stamps([record["path"] for record in remote])
    not_asked = []
    for record in remote:
        name = record["path"]
        if isinstance(stamps.get(name), str):
            changed += [name] * (stamps[name] != record["stamp"])
        else:
            (gone if name in stamps else not_asked).append(name)
    found = Verified(
        len(records) - len(changed) - len(gone) - len(not_asked), n_bytes, tuple(changed), tuple(gone), tuple(not_asked)
    )
    _say(found, stores, changed_sources, reporter)
    return found


def _say(found: Verified, stores: Sequence[TokenStore], changed_sources: ChangedSources, reporter: Reporter) -> None:
    folders = ", ".join(str(store.folder) for store in stores)
    if found.changed:
        what = f"{_listed(found.changed)} changed since {folders} was prepared (SHA-256 or etag differs)"
        if changed_sources == "refuse":
            raise GroundupError(
                f"{what}; prepare the text again, put the old file back, or train on what was prepared all the same "
                "with --changed-sources accept"
            )
        reporter.warn(f"{what}; accepted")
    if found.gone:
        reporter.warn(
            f"{_listed(found.gone)} can no longer be found, so cannot be verified; the prepared data is whole"
        )
    if found.not_asked:
        reporter.warn(f"{_listed(found.not_asked)} cannot be verified now: no answer from there")
    if found.n_same:
        files = f"{found.n_same:,} source{'s' * (found.n_same != 1)}"
        reporter.say(f"verified    {files} as prepared ({readable_bytes(found.n_bytes)} hashed)")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _local_file(record: dict[str, Any]) -> Path | None:
    """The file on this disk that holds a source; None where none is known."""
    name, member = record["path"], record.get("member")
    file = name.removesuffix(f"/{member}") if member else name
    return cached_file(file) if file.startswith("hf:") else Path(file)


def _hashes(paths: dict[Path, Any]) -> Iterator[tuple[Path, str]]:
    with ThreadPoolExecutor() as threads:  # hashing releases the GIL
        yield from zip(paths, threads.map(sha256_of, paths), strict=True)


def _remote_stamps(names: Sequence[str]) -> dict[str, str | None]:
    """The stamps of those remote files whose store answered in time; None for one that is gone.

    Each is asked in a thread that is left behind if it hangs: clients of stores wait for minutes.
    """
    found: dict[str, str | None] = {}

    def ask(name: str) -> None:
        try:
            found[name] = remote_stamp(Url(name))
        except Exception:  # clients raise their own errors: no network, no credentials
            return

    threads = [threading.Thread(target=_each, args=(ask, names[k::8]), daemon=True) for k in range(min(8, len(names)))]
    for thread in threads:
        thread.start()
    left = _REMOTE_SECONDS
    for thread in threads:
        thread.join(left / len(threads))
    return dict(found)


def _each(ask: Any, names: Sequence[str]) -> None:
    for name in names:
        ask(name)
