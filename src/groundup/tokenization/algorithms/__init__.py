"""How a vocabulary is learned: one file an algorithm, found by its name.

`--algorithm unigram` is `algorithms/unigram.py`. There is no registry: a module whose name does not begin with an
underscore is an algorithm. It gives

- `OPTIONS`: the settings it has, each with its default; any other setting is refused for it;
- `SPECIAL`: the names of its special tokens (from `tokenization/special.py`);
- `MOST_BYTES`: how much text is worth reading, since all learn from counts that hardly change beyond;
- `train(texts, request)`: the trained `tokenizers.Tokenizer`, special tokens last.

All learning is the `tokenizers` library's (or what is proved equal to it, see `fast_training.py`).
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from groundup.core.errors import unknown_name


def algorithm_names() -> list[str]:
    """Names of all algorithms, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def algorithm(name: str) -> ModuleType:
    """The module of an algorithm; an unknown name raises GroundupError with the nearest one."""
    if name not in (names := algorithm_names()):
        raise unknown_name("tokenizer algorithm", name, names)
    return importlib.import_module(f"{__name__}.{name}")
