"""Which matrices of a model an adapter goes on: patterns in, module names out, and a reason for what cannot be.

A linear map is a module (`Linear`, or one of fewer bits), so it can be wrapped. Weights that are read in another way (a
recurrent kernel's, a stack of experts) cannot, and are named rather than passed over.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import nn

from groundup.adapters.config import ALL_LINEAR, ATTENTION, FEED_FORWARD
from groundup.adapters.layers import AdaptedLinear
from groundup.core.errors import GroundupError, nearest
from groundup.models import LanguageModel, architecture
from groundup.models.layers.experts import Experts
from groundup.models.layers.int8 import Int8Linear
from groundup.models.layers.nf4 import NF4Linear
from groundup.models.layers.recurrent import Recurrent

_PARTS = {ATTENTION: ".attention.", FEED_FORWARD: ".feed_forward."}


def linear_names(model: LanguageModel) -> dict[str, nn.Module]:
    """The linear maps of the blocks by name, those that an adapter can go on, wrapped already or not."""
    apart = left_out(model)
    found, inside = {}, ()
    for name, module in model.named_modules():
        if not name.startswith("blocks.") or name in apart or (inside and name.startswith(inside)):
            continue
        if isinstance(module, AdaptedLinear):
            inside = (*inside, f"{name}.")
        if isinstance(module, AdaptedLinear | Int8Linear | NF4Linear | nn.Linear):
            found[name] = module
    return found


def left_out(model: LanguageModel) -> dict[str, str]:
    """Matrices of the blocks that no adapter goes on, by name, and why."""
    found = {}
    for name, module in model.named_modules():
        if not name.startswith("blocks."):
            continue
        if isinstance(module, Recurrent):
            for weight in ("input_weight", "memory_weight"):
                found[f"{name}.{weight}"] = "it is read by a kernel that runs all steps at once"
        if isinstance(module, Experts):
            for stack in ("gate", "up", "down"):
                found[f"{name}.{stack}"] = "it is a stack of experts, not a linear layer"
            found[f"{name}.router"] = "it chooses experts, and other tools keep it as no linear layer"
        apart = {end: "its weight is read apart from the layer" for end in model.read_apart}
        for end, reason in (model.unadaptable | apart).items():
            if name.endswith(f".{end}"):
                found[name] = reason
    return found


def find_targets(model: LanguageModel, patterns: tuple[str, ...]) -> list[str]:
    """The names of the linear maps that `patterns` (see `AdapterConfig.targets`) mean, in the model's order.

    Raises GroundupError for a pattern that means nothing here, saying what there is.
    """
    names, theirs = list(linear_names(model)), published_names(model)
    chosen: set[str] = set()
    for pattern in patterns:
        found = [name for name in names if matches(pattern, name, theirs.get(name))]
        if not found:
            raise _no_match(model, pattern, names)
        chosen.update(found)
    return [name for name in names if name in chosen]


def matches(pattern: str, name: str, published: str | None = None) -> bool:
    """Whether a pattern means the linear map of this name."""
    if pattern in _PARTS:
        return _PARTS[pattern] in name
    either = [name] if published is None else [name, published]
    return pattern == ALL_LINEAR or any(fnmatchcase(each, p) for each in either for p in (pattern, f"*.{pattern}"))


def published_names(model: LanguageModel) -> dict[str, str]:
    """The names of linear maps in the family's published files (`model.layers.0.self_attn.q_proj`), by ours."""
    config = model.config
    rows = architecture(config.architecture).weights(config).expand(config.n_layers, config.tie_embeddings)
    return {
        row.ours.removesuffix(".weight"): row.theirs.removesuffix(".weight")
        for row in rows
        if row.ours.endswith(".weight") and not row.n_experts
    }


def _no_match(model: LanguageModel, pattern: str, names: list[str]) -> GroundupError:
    ends = sorted({name.split(".", 2)[2] for name in names})
    theirs = sorted({found.rpartition(".")[2] for name, found in published_names(model).items() if name in names})
    for name, reason in left_out(model).items():
        if pattern not in _PARTS and matches(pattern, name, published_names(model).get(name)):
            return GroundupError(f"no adapter goes on {name}: {reason}; it can go on {', '.join(ends)}")
    guess = nearest(pattern, [*(end.rpartition(".")[2] for end in ends), *theirs, ALL_LINEAR, *_PARTS])
    hint = f", did you mean {guess!r}?" if guess else "."
    return GroundupError(
        f"targets: nothing in this {model.config.architecture} model is called {pattern!r}{hint} Adapters can go on "
        f"{ALL_LINEAR}, or on {', '.join(ends)} (in published files {', '.join(theirs)})"
    )
