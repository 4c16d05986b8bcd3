"""The training state on disk: everything a run needs to go on as if it had never stopped.

The one idea: a state is whole or absent, and there are always two. Each save is a new folder that appears by one
rename, with a manifest of hashes written last; only then does the oldest go. A kill at any moment leaves at least the
state before. Tensors are safetensors and values are JSON: loading a state never runs code.

    state/step-00000120/state.safetensors    flat names -> tensors
                        values.json          step, clock and whatever else is not a tensor
                        manifest.json        SHA-256 of the two; without it the state does not count
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from groundup.checkpoints.tensor_files import save_tensors
from groundup.core.errors import GroundupError
from groundup.core.files import folder_written_atomically, read_json, recover_retired, sha256_of, write_json
from groundup.core.progress import QUIET, Reporter

N_KEPT = 2
TENSORS, VALUES, MANIFEST = "state.safetensors", "values.json", "manifest.json"


@dataclass(frozen=True)
class TrainingState:
    """A state read back: its step, its tensors by name and its JSON values."""

    step: int
    tensors: dict[str, Tensor]
    values: dict[str, Any]


def save_state(folder: str | Path, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> Path:
    """Write the state after `step` steps as `folder/step-00000120/` and drop all but the newest two; gives its path.

    Tensors may be on any device. Raises `GroundupError` when the disk is full; the states from before are then
    untouched.
    """
    folder = Path(folder)
    _bring_back_retired(folder)
    for leftover in folder.glob(".step-*"):  # saves that were killed; their space may be what this one needs
        shutil.rmtree(leftover, ignore_errors=True)
    path = folder / f"step-{step:08d}"
    with folder_written_atomically(path) as temporary:
        save_tensors(tensors, temporary / TENSORS)
        (temporary / VALUES).write_text(json.dumps(values), encoding="utf-8")
        hashes = {name: sha256_of(temporary / name) for name in (TENSORS, VALUES)}
        write_json(temporary / MANIFEST, {"step": step, "sha256": hashes})
    for old in _states(folder)[N_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def load_newest_state(folder: str | Path, *, device: str = "cpu", reporter: Reporter = QUIET) -> TrainingState | None:
    """The newest whole state under `folder`, its tensors on `device`; None when none was ever saved.

    A state that is damaged is passed over for the one before, and the reporter says so. Raises `GroundupError` when
    there are states and all are damaged, because starting from nothing is for a person to decide.
    """
    folder = Path(folder)
    _bring_back_retired(folder)
    problems = []
    for path in _states(folder):
        problem = _damage(path)
        if problem is None:
            values = read_json(path / VALUES)
            return TrainingState(int(path.name.removeprefix("step-")), load_file(path / TENSORS, device=device), values)
        problems.append(f"{path}: {problem}")
        reporter.warn(f"the training state {path} is damaged ({problem}); going back to the one before")
    if problems:
        raise GroundupError(
            "no training state can be used (" + "; ".join(problems) + f"); delete {folder} to start the training anew"
        )
    return None


def _bring_back_retired(folder: Path) -> None:
    """Undo the first of the two renames that replace a state, where a kill struck before the second."""
    for retired in folder.glob(".step-*.retired"):  # .step-00000120.PID.retired
        recover_retired(folder / retired.name.split(".")[1])


def _states(folder: Path) -> list[Path]:
    """The state folders, newest first."""
    return sorted(folder.glob("step-" + "[0-9]" * 8), reverse=True)


def _damage(path: Path) -> str | None:
    """Why the state at `path` cannot be trusted, or None when it is whole."""
    try:
        expected = read_json(path / MANIFEST)["sha256"]
        for name in (TENSORS, VALUES):
            if sha256_of(path / name) != expected[name]:
                return f"{name} is not what was written"
    except GroundupError as error:
        return str(error)
    except (OSError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None
