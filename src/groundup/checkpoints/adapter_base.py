"""The base an adapter stands on: where it lies, whether it is the one, and whether it has rows for all tokens.

`base.json` keeps a sample of the base's numbers, a few of the first of some of its matrices. An adapter on another base than
its own computes nonsense without a word; the sample makes it an error. Half precision's rounding passes; fewer bits and
further training do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from groundup.adapters.peft_config import PeftSettings
from groundup.adapters.peft_names import PeftAdapter
from groundup.adapters.targets import published_names
from groundup.checkpoints.model_folder import is_adapter_folder, resolve_model
from groundup.checkpoints.sources import ModelSource
from groundup.checkpoints.vocabulary_growth import grown
from groundup.core.errors import GroundupError
from groundup.models import LanguageModel, architecture

CONFIG_FILE = "adapter_config.json"
_SAMPLED_TENSORS, _SAMPLED_NUMBERS = 8, 8


@dataclass(frozen=True)
class AdapterFolder:
    """What lies in an adapter's folder, read and checked for itself; whether it fits a base is seen when it is attached."""

    path: Path
    settings: PeftSettings
    adapter: PeftAdapter
    base: dict[str, Any]  # what base.json says; empty where there is none
    n_bytes: int  # of the weights' file

    @property
    def n_parameters(self) -> int:
        """Numbers the adapter holds."""
        parts = [part for paths in self.adapter.paths.values() for part in paths.values()]
        return sum(each.numel() for each in (*parts, *self.adapter.rows.values(), *self.adapter.whole.values()))


def find_base(found: AdapterFolder, base: str | Path | None = None) -> Path:
    """Where the base of an adapter lies: as given, as its files say, or beside it; raises GroundupError when nowhere."""
    if base is not None:
        return _no_adapter(resolve_model(base))
    beside = found.base.get("path")
    tried = [found.settings.base, found.path / beside if beside else None, found.base.get("base")]
    reasons = []
    for place in dict.fromkeys(str(each) for each in tried if each):
        try:
            return _no_adapter(resolve_model(place))
        except GroundupError as error:
            reasons.append(str(error))
    why = f" ({reasons[0]})" if reasons else ""
    raise GroundupError(
        f"{found.path}: its base {found.settings.base or 'is not named in adapter_config.json, and'} was not found{why}; "
        "say where it lies with --base"
    )


def _no_adapter(place: Path) -> Path:
    if is_adapter_folder(place):
        raise GroundupError(
            f"{place} is an adapter itself, and cannot be a base; merge it first (groundup adapter merge)"
        )
    return place


def sample_of(source: ModelSource) -> dict[str, list[float]]:
    """The first numbers of some tensors, evenly taken from all names, by published name."""
    table = architecture(source.config.architecture).weights(source.config)
    names = {full: name for name in source.tensors.names if (full := table.their_name(name)) is not None}
    wide = [full for full in sorted(names) if len(source.tensors.shape(names[full])) == 2]
    chosen = wide[:: max(1, math.ceil(len(wide) / _SAMPLED_TENSORS))]
    return {
        full: source.tensors.read(names[full], 0, 1).flatten()[:_SAMPLED_NUMBERS].float().tolist() for full in chosen
    }


def check_base(found: AdapterFolder, source: ModelSource) -> None:
    """Refuse a base whose numbers are not those the adapter was trained on; half precision's rounding is allowed."""
    if not found.base:
        return
    if (name := found.base.get("architecture")) != source.config.architecture:
        raise GroundupError(
            f"{found.path} was made for a {name} model ({found.base.get('base')}), and {source.path} is a "
            f"{source.config.architecture} model; say with --base where its base lies"
        )
    here, there = sample_of(source), found.base.get("sample", {})
    for tensor, numbers in there.items():
        mine = here.get(tensor, [])
        if len(mine) != len(numbers) or any(
            abs(a - b) > 2**-7 * abs(b) + 1e-6 for a, b in zip(mine, numbers, strict=True)
        ):
            raise GroundupError(
                f"{source.path} is not the base {found.path} was trained on ({found.base.get('base')}): {tensor} begins "
                f"with {_short(mine)} and not with {_short(numbers)}; say with --base where that model lies, unquantised"
            )


def _short(numbers: list[float]) -> str:
    return f"[{', '.join(f'{number:.3g}' for number in numbers[:3])}, ...]"


def rows_needed(found: AdapterFolder) -> int:
    """Rows a model needs for the tokens an adapter brings; 0 when it brings none."""
    tokens = [max(ids) + 1 for ids in found.settings.tokens.values() if ids]
    return max([0, *tokens, *(found.base.get("vocab_size", 0),)])


def without_copies(model: LanguageModel, found: AdapterFolder) -> AdapterFolder:
    """The adapter without tables that only repeat the base's below the new tokens' rows, which it brings besides.

    PEFT writes them where a table was made larger.
    """
    published, have = published_names(model), model.config.vocab_size
    kept = dict(found.adapter.whole)
    brought = {each for ids in found.settings.tokens.values() for each in ids}
    for table in ("token_embedding", "head"):
        name = f"{published.get(table)}.weight"
        if name in kept and found.adapter.rows and brought.issuperset(range(have, len(kept[name]))):
            own = model.get_submodule("token_embedding" if table == "head" and model.head is None else table).weight
            assert isinstance(own, Tensor)
            if kept[name].shape[1] == own.shape[1] and torch.equal(kept[name][:have].to(own), own):
                del kept[name]
    return replace(found, adapter=replace(found.adapter, whole=kept))


def with_room(model: LanguageModel, found: AdapterFolder) -> LanguageModel:
    """The base with rows for the adapter's new tokens; refuses sizes that nothing fills."""
    published, have = published_names(model), model.config.vocab_size
    tables = {published[key] for key in ("token_embedding", "head") if key in published}
    whole = {len(tensor) for name, tensor in found.adapter.whole.items() if name.removesuffix(".weight") in tables}
    wanted = max([rows_needed(found), *whole])
    if len(whole) > 1 or (whole and wanted != max(whole)):
        raise GroundupError(
            f"{found.path}: the tables it brings whole have {sorted(whole)} rows, and {wanted} are needed"
        )
    if wanted < have and whole:
        raise GroundupError(
            f"{found.path} brings a table of {wanted} rows, and its base has {have}: it was made for another base, or one "
            "whose table was cut; say with --base where that model lies"
        )
    if wanted <= have:
        return model
    brought = {each for ids in found.settings.tokens.values() for each in ids}
    if not whole and (missing := sorted(set(range(have, wanted)) - brought)):
        raise GroundupError(
            f"{found.path} was trained on a model of {wanted} tokens, and the base {have}: nothing brings the rows of ids "
            f"{missing[0]} to {missing[-1]}; save the adapter with them (trainable_token_indices), or say with --base where a "
            f"model of {wanted} tokens lies"
        )
    return grown(model, have, [[0]] * (wanted - have))  # what stands there until the adapter's rows come
