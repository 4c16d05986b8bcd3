"""What an adapter is and where it moved its base most: a few lines, and a table of layers by matrices.

A cell is the length of what is added to a matrix over the length of that matrix (Frobenius norms), in per cent. The first
is had without making the sum: |B A|^2 is the trace of (B^T B)(A A^T), R x R both. DoRA's rescaling of rows is counted
apart, as the mean change of their lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Group, RenderableType
from rich.text import Text

from groundup.adapters.layers import AdaptedLinear, LowRank, wide_weight
from groundup.adapters.lora import count_parameters
from groundup.checkpoints.adapter_base import AdapterFolder
from groundup.checkpoints.adapter_folder import load_adapted, read_adapter
from groundup.checkpoints.model_folder import is_adapter_folder, resolve_model
from groundup.core.errors import GroundupError
from groundup.core.files import readable_bytes
from groundup.inspect.terminal import terminal_table
from groundup.models import LanguageModel


@dataclass(frozen=True)
class Movement:
    """What an adapter does to one matrix."""

    name: str
    added: float  # |scale B A|
    of: float  # |W|
    gain: float | None  # DoRA: mean of |magnitude / length of the row - 1|

    @property
    def share(self) -> float:
        """How much was added, as a part of what was there."""
        return self.added / self.of if self.of else 0.0


@dataclass(frozen=True)
class AdapterView:
    """An adapter, what it weighs, and what it moved; `movements` is None where the base is not at hand."""

    folder: AdapterFolder
    n_base: int | None
    movements: tuple[Movement, ...] | None
    missing: str | None  # why the base is not at hand


def look_at_adapter(name: str | Path, *, base: str | Path | None = None) -> AdapterView:
    """Read the adapter `name` (a run, or an adapter's folder), with its base if that is found.

    Raises GroundupError when there is no adapter, or one that does not fit its base.
    """
    place = resolve_model(name)
    if not is_adapter_folder(place):
        raise GroundupError(
            f"{name} is a whole model; there is no adapter in {place} (groundup inspect model shows it)"
        )
    found = read_adapter(place)
    try:
        model, _ = load_adapted(place, base=base, dtype=torch.float32)
    except GroundupError as error:
        if base is not None or "was not found" not in str(error):
            raise
        return AdapterView(found, None, None, str(error))
    return AdapterView(found, count_parameters(model)[1] - found.n_parameters, tuple(movements(model)), None)


@torch.no_grad()
def movements(model: LanguageModel, name: str = "default") -> list[Movement]:
    """What the adapter called `name` does to each matrix it is on, in the model's order."""
    found = []
    for key, layer in model.named_modules():
        if not isinstance(layer, AdaptedLinear) or name not in layer.adapters:
            continue
        path = layer.adapters[name]
        assert isinstance(path, LowRank)
        a, b = path.a.float(), path.b.float() * path.scale
        added = float(((b.T @ b) * (a @ a.T)).sum().clamp_min(0).sqrt())
        gain = None
        if path.magnitude is not None:
            gain = float((path.magnitude / path.lengths(layer.base) - 1).abs().mean())
        found.append(Movement(key, added, float(wide_weight(layer.base).norm()), gain))
    return found


def adapter_terminal(view: AdapterView) -> RenderableType:
    """The lines and the table for the terminal."""
    settings, folder = view.folder.settings, view.folder
    kind = ("DoRA" if settings.dora else "LoRA") + (", rank-stabilised" if settings.rslora else "")
    ends = sorted({module.rpartition(".")[2] for module in folder.adapter.paths})
    ranks = sorted({settings.rank_of(module) for module in folder.adapter.paths})
    n_layers = len({part for module in folder.adapter.paths for part in module.split(".") if part.isdigit()})
    numbers = f"{folder.n_parameters:,}"
    if view.n_base:
        numbers += f" beside {view.n_base:,} of the base ({folder.n_parameters / view.n_base:.2%})"
    lines = {
        "adapter": f"{folder.path} ({kind})",
        "base": str(settings.base or "not named"),
        "rank": f"{', '.join(map(str, ranks))}, alpha {settings.alpha:g}, dropout {settings.dropout:g}",
        "targets": f"{', '.join(ends)} in {n_layers} layers, {len(folder.adapter.paths)} matrices",
        "numbers": numbers,
        "file": readable_bytes(folder.n_bytes),
    }
    if settings.tokens:
        lines["tokens"] = f"own rows for ids {', '.join(map(str, next(iter(settings.tokens.values()))[:8]))}"
    if folder.adapter.whole:
        lines["whole"] = ", ".join(folder.adapter.whole)
    text = Text("\n".join(f"{key:<10}{value}" for key, value in lines.items()))
    if view.movements is None:
        return Group(text, Text(f"\nWhat moved is not shown: {view.missing}"))
    return Group(text, Text("\nWhat is added to each matrix, in % of its length:"), _table(view.movements))


def _table(movements: tuple[Movement, ...]) -> RenderableType:
    """Layers down, matrices across; the darkest cells moved most."""
    columns = list(dict.fromkeys(_column(movement) for movement in movements))
    cells = {(_row(movement), _column(movement)): movement for movement in movements}
    most = max((movement.share for movement in movements), default=0.0)
    rows = []
    for row in dict.fromkeys(_row(movement) for movement in movements):
        found = [cells.get((row, column)) for column in columns]
        shares = [movement.share for movement in found if movement]
        rows.append([row, *(_cell(movement, most) for movement in found), f"{100 * sum(shares) / len(shares):.2f}"])
    gains = [movement.gain for movement in movements if movement.gain is not None]
    table = terminal_table(("layer", *columns, "mean"), rows, numbers=range(1, len(columns) + 2))
    if not gains:
        return table
    return Group(
        table, Text(f"\nDoRA changed the lengths of rows by {100 * sum(gains) / len(gains):.2f} % in the mean")
    )


def _cell(movement: Movement | None, most: float) -> Text:
    if movement is None:
        return Text("")
    share = movement.share / most if most else 0.0
    style = "bold reverse" if share > 0.9 else "bold" if share > 0.6 else "dim" if share < 0.2 else ""
    return Text(f"{100 * movement.share:.2f}", style=style)


def _row(movement: Movement) -> str:
    return movement.name.split(".")[1]


def _column(movement: Movement) -> str:
    return movement.name.rpartition(".")[2]
