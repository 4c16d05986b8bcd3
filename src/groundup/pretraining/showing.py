"""What a training reads, to be looked at: prepared data as any run would read it, or a run as it did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from groundup.core.errors import GroundupError
from groundup.core.runs import RunFolder
from groundup.data.mixture import Mixture
from groundup.data.store import MANIFEST, TokenStore
from groundup.data.stream import RowStream
from groundup.inspect.data import ShownSource
from groundup.pretraining.config import PretrainConfig
from groundup.tokenization.tokenizer import Tokenizer

DEFAULT_CONTEXT_LENGTH = 64  # of data without a run: as much as a screen shows


def rows_to_show(
    data: str | Path | None = None,
    *,
    mix: Sequence[str] = (),
    first: int = 0,
    count: int = 1,
    split: str = "train",
    **settings: Any,
) -> tuple[list[ShownSource], list[tuple[int, int]], Tokenizer]:
    """The sources with their rows, the `count` rows (source, number) from `first` on, and the tokenizer.

    `data` is a prepared folder or a run, whose own settings then hold where `settings` (mix_alpha, context_length, stride,
    packing) say nothing. Rows are numbered as they lie in the text; those of a mixture as the training comes to them. Raises
    `GroundupError` for data that cannot be opened and for rows that are not there.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    folder = None if data is None else Path(data)
    read = _read_by_run(folder) if folder is not None and not (folder / MANIFEST).exists() else {}
    if mix:
        read = {"mix": list(mix)}
    elif not read:
        read = {"data": [str(data)]} if data is not None else {}
    config = PretrainConfig.build(read | given, source="the flags")
    mixture = _opened(config, folder)
    rows = mixture.rows(
        config.context_length or DEFAULT_CONTEXT_LENGTH, packing=config.packing, stride=config.stride, split=split
    )
    n_rows = [len(each) for each in rows]
    if first < 0 or count < 1 or (not mixture.is_mixed and first + count > n_rows[0]):
        there = "are numbered from 0 on" if mixture.is_mixed else f"are 0 to {n_rows[0] - 1:,}"
        raise GroundupError(f"--window {first:,} --count {count:,}: the windows or rows of the {split} split {there}")
    places = np.arange(first, first + count)
    if mixture.is_mixed:
        chosen = list(
            zip(*(part.tolist() for part in RowStream(n_rows, mixture.parts, config.seed)(places)), strict=True)
        )
    else:
        chosen = [(0, place) for place in places.tolist()]
    names = [source.name for source in mixture.sources]
    sources = list(map(ShownSource, names, mixture.shares, rows))
    return sources, chosen, Tokenizer.load(mixture.store.tokenizer_folder)


def _read_by_run(folder: Path) -> dict[str, Any]:
    """The settings by which a run reads its text; nothing when `folder` is no run."""
    path = RunFolder(folder).config
    if not path.is_file():
        return {}
    config = PretrainConfig.read(path)
    kept = {name: getattr(config, name) for name in ("context_length", "stride", "packing", "seed")}
    return kept | ({"mix": [each.model_dump() for each in config.mix]} if config.mix else {"data": config.data})


def _opened(config: PretrainConfig, folder: Path | None) -> Mixture:
    if config.mix:
        return Mixture.open(config.mix, config.mix_alpha)
    if not config.data:
        raise GroundupError("nothing to show; name a prepared data folder, a run, or a mixture with --mix")
    own = folder / "data" if folder is not None else None  # where a run that began with text has prepared it
    return Mixture.of(TokenStore.open(own if own is not None and (own / MANIFEST).exists() else config.data[0]))
