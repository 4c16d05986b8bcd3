"""A name in a config is a module in this folder: `architecture: gpt2` is `models/gpt2.py`.

There is no registry: a module that defines `Model` is an architecture. It gives

- `Config` and `Model`;
- `derived_sizes(dial)`, what follows from depth and width (sizes.py);
- `MODEL_TYPES`, the names it has in a `config.json`, one of them its own; a name that begins with `groundup_` is known
  to no other tool;
- `weights(config)`, its `WeightTable`, and `to_hugging_face(config)`, `from_hugging_face(values)`.

The contract tests find it by themselves.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from groundup.core.errors import unknown_name
from groundup.models.base import LanguageModel, ModelConfig


def architecture_names() -> list[str]:
    """Names of all architectures, sorted."""
    names = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if not module.ispkg)
    return sorted(name for name in names if hasattr(_module(name), "Model"))


def architecture(name: str) -> ModuleType:
    """The module of an architecture; an unknown name raises GroundupError with the nearest one."""
    if name not in (names := architecture_names()):
        raise unknown_name("architecture", name, names)
    return _module(name)


def model_types() -> dict[str, str]:
    """The architecture of each `model_type` that a `config.json` may name."""
    return {name: module for module in architecture_names() for name in _module(module).MODEL_TYPES}


def known_elsewhere(name: str) -> bool:
    """Whether other tools have a class for an architecture."""
    return not all(model_type.startswith("groundup_") for model_type in architecture(name).MODEL_TYPES)


def build_model(config: ModelConfig, seed: int = 0) -> LanguageModel:
    """A new model on the CPU, its weights filled from `seed`."""
    model = architecture(config.architecture).Model(config)
    model.initialize(seed)
    return model


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"groundup.models.{name}")
