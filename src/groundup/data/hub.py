"""Datasets of the Hugging Face hub: `hf:ORGANISATION/NAME`, with `@REVISION` and `/FILES` if wanted.

One idea: a name on the hub moves, a commit does not. The files are downloaded once into the hub's own cache, and the commit
they came from is part of their name from then on: `hf:org/name@3f2a.../data/train.parquet` is what the manifest records.
Where the files tell their splits, those of the training split are read and the others counted.
"""

from __future__ import annotations

import re
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

from groundup.core.errors import GroundupError, missing_extra
from groundup.data.remarks import count_first

_NAME = re.compile(r"hf:(?://)?(?:datasets/)?([\w.-]+/[\w.-]+)(?:@([^/@\s]+))?(?:/(\S+))?")
_KINDS = ("parquet", "jsonl", "json", "csv", "tsv", "txt", "arrow")
_PACKED = ("", ".gz", ".zst", ".xz", ".bz2")
_SPLIT = re.compile(r"(?:^|[/._-])(train|training|test|testing|validation|valid|val|dev|eval)(?=[/._-])", re.IGNORECASE)


def fetch(name: str, remarks: Counter[str]) -> tuple[list[Path], Path, str]:
    """The files of a dataset, on this disk; the folder they lie in; and the dataset's name with its commit.

    Raises `GroundupError` when the name is none, the hub cannot be reached and the cache does not have it.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise GroundupError(
            f"{name} is no dataset name; write hf:ORGANISATION/NAME, hf:ORGANISATION/NAME@REVISION/FILES"
        )
    repository, revision, files = found.groups()
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise missing_extra("huggingface_hub", "hub", f"reading {name}") from None
    patterns = [files, f"{files}/*"] if files else [f"*.{kind}{packed}" for kind in _KINDS for packed in _PACKED]
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                repository, repo_type="dataset", revision=revision, allow_patterns=patterns
            )
        )
    except LocalEntryNotFoundError as error:
        raise GroundupError(
            f"{name}: the hub cannot be reached and its files are not in the cache; connect once and run this again, or "
            "download the dataset's files elsewhere and give their folder"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise GroundupError(f"{name} cannot be downloaded: {first}; is the name right, and is it public?") from error
    # The cache may hold more than was asked for now: without a network it gives all it has.
    found_here = ((path, path.relative_to(folder).as_posix()) for path in sorted(folder.rglob("*")) if path.is_file())
    paths = [
        path
        for path, name in found_here
        if path.name != "dataset_infos.json" and any(fnmatch(name, pattern) for pattern in patterns)
    ]
    return _training(paths, folder, files, remarks), folder, f"hf:{repository}@{folder.name}"


def cached_file(name: str) -> Path | None:
    """Where the file `hf:org/name@COMMIT/file` lies in the hub's cache, without asking the hub; None if it does not."""
    found = _NAME.fullmatch(name)
    try:
        import huggingface_hub
    except ImportError:
        return None
    if found is None or not found[3]:
        return None
    path = huggingface_hub.try_to_load_from_cache(found[1], found[3], revision=found[2], repo_type="dataset")
    return Path(path) if isinstance(path, str) else None


def _training(paths: list[Path], folder: Path, asked: str | None, remarks: Counter[str]) -> list[Path]:
    """The files of the training split, where files say what split they are of and no file was asked for by name."""
    if asked:
        return paths
    splits = {path: _SPLIT.search(path.relative_to(folder).as_posix()) for path in paths}
    training = [path for path, split in splits.items() if split and split[1].lower().startswith("train")]
    if not training:
        return paths
    for path in paths:
        if path not in training:
            place = path.relative_to(folder).as_posix()
            count_first(remarks, "files beside the training split, left out (name one to read it)", place)
    return training
