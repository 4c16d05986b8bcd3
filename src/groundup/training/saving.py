"""Where a run stands, and taking it to disk and back.

The one idea: a place in a run is three numbers (steps, tokens, seconds), the weights and the optimizer's tensors, and
the losses the divergence watch remembers. Data order and dropout are functions of (seed, step) and need no saving.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from groundup.checkpoints.training_state import load_newest_state, save_state
from groundup.core.errors import GroundupError
from groundup.core.progress import QUIET, Reporter
from groundup.training.distributed import Ranks
from groundup.training.divergence import DivergenceWatch
from groundup.training.objectives import TrainedModel
from groundup.training.optimizers import Optimizer


@dataclass(frozen=True)
class Place:
    """Steps done, tokens read (over all ranks), seconds on the training clock (earlier sessions included)."""

    step: int = 0
    n_tokens: int = 0
    elapsed_seconds: float = 0.0
    finished_budget: float | None = None  # the budget that ended here, with all that belongs to the end done


class Keeper:
    """Saves a run's place, weights and optimizer in a folder, and puts them back. Without a folder it keeps nothing."""

    def __init__(self, folder: Path | None, model: TrainedModel, optimizer: Optimizer, every_seconds: float) -> None:
        self.folder, self._model, self._optimizer = folder, model, optimizer
        self._every_seconds = every_seconds
        self._last_end, self._last_cost = time.perf_counter(), 0.0
        self._holds_one = False

    def due(self, watch: DivergenceWatch) -> bool:
        """Whether to save now: by the clock, and once as soon as the run is seen to go well.

        Never while the loss is climbing, which would replace the states from before by bad ones; and never so often
        that saving takes more than a twentieth of the run.
        """
        if self.folder is None or watch.climbing:
            return False
        if watch.best is not None and not self._holds_one:
            return True
        return time.perf_counter() - self._last_end >= max(self._every_seconds, 20 * self._last_cost)

    def save(self, place: Place, watch: DivergenceWatch) -> None:
        """Write the state of this place; on return it is on disk."""
        if self.folder is None:
            return
        start = time.perf_counter()
        tensors = {f"model.{name}": tensor for name, tensor in _learned(self._model).items()}
        tensors |= {f"optimizer.{name}": tensor.clone() for name, tensor in self._optimizer.state_tensors().items()}
        save_state(self.folder, place.step, tensors, {"place": asdict(place), "watch": watch.memory()})
        self._last_end, self._holds_one = time.perf_counter(), True
        self._last_cost = self._last_end - start

    def load(self, reporter: Reporter = QUIET) -> tuple[Place, DivergenceWatch] | None:
        """Put the newest state into the model and the optimizer; None, and nothing touched, when there is none.

        Raises `GroundupError` when the state is of another model or optimizer.
        """
        state = load_newest_state(self.folder, reporter=reporter) if self.folder is not None else None
        if state is None:
            return None
        learned, saved = _learned(self._model), _under("model.", state.tensors)
        shapes, saved_shapes = ({name: tuple(t.shape) for name, t in some.items()} for some in (learned, saved))
        if shapes != saved_shapes:
            name = min(name for name in shapes | saved_shapes if shapes.get(name) != saved_shapes.get(name))
            raise GroundupError(
                f"the state in {self.folder} is of another model: {name} is {saved_shapes.get(name, 'absent')} there "
                f"and {shapes.get(name, 'absent')} here; resume with the settings the run began with"
            )
        with torch.no_grad():
            for name, tensor in learned.items():
                tensor.copy_(saved[name])
        self._optimizer.load_state_tensors(_under("optimizer.", state.tensors))
        self._holds_one = True
        return Place(**state.values["place"]), DivergenceWatch(**state.values["watch"])

    def share(self, place: Place, ranks: Ranks) -> Place:
        """Give every rank rank 0's weights, optimizer state and place, which is returned."""
        weights = [parameter.detach() for parameter in self._model.parameters()]
        ranks.copy_from_main([*weights, *self._optimizer.state_tensors().values()])
        step, n_tokens, elapsed, finished = ranks.from_main(
            place.step, place.n_tokens, place.elapsed_seconds, place.finished_budget or 0.0
        )
        return Place(int(step), int(n_tokens), elapsed, finished or None)


def _learned(model: TrainedModel) -> dict[str, Tensor]:
    """What training changes. Frozen weights are the starting point's, and whoever resumes has them again."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
