"""The settings of a run as a person gave them, checked before anything is made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from groundup.pretraining.config import PretrainConfig
from groundup.pretraining.shape import check_model
from groundup.pretraining.text import check_text


def checked_config(
    data: str | Path | Sequence[str | Path] | None, config: PretrainConfig | None, settings: dict[str, Any]
) -> PretrainConfig:
    """The settings of a run, refused at once where no text could make them work.

    Paths become whole ones, so that `resume` works from anywhere.
    """
    if data is not None:
        settings = settings | {"data": [str(path) for path in ([data] if isinstance(data, str | Path) else data)]}
    values = (config.model_dump(exclude_unset=True) if config else {}) | settings
    config = PretrainConfig.build(values, source="settings")
    paths: dict[str, Any] = {
        "data": tuple(os.path.abspath(path) for path in config.data),
        "mix": tuple(each.model_copy(update={"data": os.path.abspath(each.data)}) for each in config.mix),
    }
    if config.tokenizer is not None:
        paths["tokenizer"] = os.path.abspath(config.tokenizer)
    config = config.model_copy(update=paths)
    check_model(config)
    check_text(config)
    return config
