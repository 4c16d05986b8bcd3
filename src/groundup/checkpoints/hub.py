"""Files of the Hugging Face hub, downloaded once: never code, never pickles, only what is asked for by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from groundup.core.errors import GroundupError, missing_extra

_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?(@[\w./-]+)?")


def is_hub_name(name: str) -> bool:
    """Whether `name` could be a hub model: `organisation/name`, or one of the old names without organisation.

    A branch, tag or commit may follow, as in `organisation/name@main`.
    """
    return bool(_NAME.fullmatch(name))


def download(name: str, patterns: Sequence[str], what: str) -> Path:
    """The folder with those files of hub model `name` that match `patterns`; `what` is looked for, for the error.

    A copy in the library's cache is enough where there is no network. Files in subfolders (other formats of the same
    model) are left alone.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise missing_extra(
            "huggingface_hub", "hub", f"there is no file or folder {name} here, and the hub model {name}"
        ) from None
    try:
        repository, _, revision = name.partition("@")
        return Path(
            snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=list(patterns),
                ignore_patterns=["*/*", "consolidated*"],  # the latter is a second copy that some publishers add
            )
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise GroundupError(
            f"there is no file or folder {name} here, and the Hugging Face hub did not give a {what} of that name "
            f"({type(error).__name__}: {reason[0] if reason else 'no reason given'}); check the name and the network, "
            f"or download the {what} on another machine and give its folder"
        ) from None
