"""Surgery: adapters put on a built model, switched off and on, and taken away; the model never knows.

After `add_adapter` everything else is frozen, so no gradient of a frozen weight is computed, none is kept, and no optimizer
sees one. An adapter's parameters are the ones with `.adapters.` in their names, always fp32: what they learn is small, and
would vanish in bf16, while the frozen weights may be kept in anything.

`adapters_off` is the reference model of preference training, at no cost in memory. `use_adapters` gives each row of a
batch its own adapter, so one base serves many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from groundup.adapters.config import AdapterConfig
from groundup.adapters.layers import Adapted, AdaptedLinear, LowRank, Switch
from groundup.adapters.targets import find_targets, matches, published_names
from groundup.adapters.tokens import AdaptedEmbedding, AdaptedHead, TokenRows, check_tokens
from groundup.core.errors import GroundupError, unknown_name
from groundup.models import LanguageModel
from groundup.models.layers.int8 import Int8Linear
from groundup.models.layers.nf4 import NF4Linear

DEFAULT = "default"
BASE = "base"  # in the place of an adapter's name: none of them


def add_adapter(
    model: LanguageModel, config: AdapterConfig | None = None, *, name: str = DEFAULT, seed: int = 0
) -> LanguageModel:
    """Put an adapter on the model in place, switch it on, freeze everything else; gives the model.

    Its first output is the base's to the bit. The same seed draws the same numbers on every device. Raises GroundupError
    when a target means nothing here, or the name is taken or cannot be one.
    """
    config, switch = config or AdapterConfig(), switch_of(model) or Switch()
    if name == BASE or not name.replace("-", "").replace("_", "").isalnum():
        raise GroundupError(f"an adapter cannot be called {name!r}; use letters, digits, - and _, and not {BASE!r}")
    if name in switch.names:
        raise GroundupError(f"the model has an adapter called {name!r} already; remove it, or choose another name")
    if switch.merged:
        raise GroundupError(f"the adapter {switch.merged!r} is merged into the weights; unmerge it first")
    targets, theirs = find_targets(model, config.targets), published_names(model)
    check_tokens(model, config.new_tokens)
    for kind, patterns in (("rank_pattern", config.rank_pattern), ("alpha_pattern", config.alpha_pattern)):
        for pattern in patterns:
            if not any(matches(pattern, target, theirs.get(target)) for target in targets):
                raise GroundupError(f"{kind}: {pattern!r} is none of the {len(targets)} matrices the adapter goes on")
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for target in targets:
        layer = _wrapped(model, target, AdaptedLinear, switch)
        rank, alpha = _strength(config, target, theirs.get(target))
        dora = config.kind == "dora"
        path = LowRank(layer.base, rank, config.scale(rank, alpha), config.dropout, dora=dora, rslora=config.rslora)
        bound = path.a.shape[1] ** -0.5  # as the paper's own code: He's uniform with a gain of 1/sqrt(3)
        with torch.no_grad():
            path.a.copy_(torch.empty(path.a.shape).uniform_(-bound, bound, generator=generator))
        layer.adapters[name] = path
    if config.new_tokens:
        _wrapped(model, "token_embedding", AdaptedEmbedding, switch).adapters[name] = TokenRows(
            model.token_embedding.weight, config.new_tokens
        )
        if model.head is not None:
            head = _wrapped(model, "head", AdaptedHead, switch)
            head.adapters[name] = TokenRows(head.base.weight, config.new_tokens)  # pyright: ignore[reportArgumentType]
    for path in (layer.adapters[name] for layer in adapted_layers(model) if name in layer.adapters):
        path.train(model.training)
    switch.names.append(name)
    switch.active, switch.rows = name, None
    return model


def adapter_parameters(model: LanguageModel, name: str | None = None) -> dict[str, nn.Parameter]:
    """The parameters of all adapters, or of the one called `name`."""
    part = ".adapters." if name is None else f".adapters.{name}."
    return {key: parameter for key, parameter in model.named_parameters() if part in key}


def adapter_names(model: LanguageModel) -> tuple[str, ...]:
    """The adapters a model has, in the order they came."""
    switch = switch_of(model)
    return tuple(switch.names) if switch else ()


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """(trainable, all) parameters; weights in fewer bits count as what they stand for."""
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    narrow = [module for module in model.modules() if isinstance(module, Int8Linear | NF4Linear)]
    held = sum(module.out_features * module.in_features for module in narrow)
    return trainable, sum(parameter.numel() for parameter in model.parameters()) + held


@contextmanager
def adapters_off(model: LanguageModel) -> Iterator[LanguageModel]:
    """Inside, the model is its base; afterwards it is as it was. Raises GroundupError while an adapter is merged."""
    switch = _required(model)
    if switch.merged:
        raise GroundupError(f"the adapter {switch.merged!r} is merged into the weights; unmerge it to have the base")
    _check_whole(switch, BASE)
    with adapters_kept(model):
        switch.active = switch.rows = None
        yield model


def use_adapters(model: LanguageModel, names: str | Sequence[str] | None) -> None:
    """Switch on one adapter for all rows, none (None or "base"), or one for each row of the batches to come, by name.

    Raises GroundupError for a name the model does not have.
    """
    switch = _required(model)
    if switch.merged:
        raise GroundupError(f"the adapter {switch.merged!r} is merged into the weights; unmerge it first")
    asked = [names or BASE] if isinstance(names, str) or names is None else list(names)
    for name in asked:
        if name not in (BASE, *switch.names):
            raise unknown_name("adapter", name, [BASE, *switch.names])
        _check_whole(switch, name)
    if len(set(asked)) == 1:
        switch.active, switch.rows = None if asked[0] == BASE else asked[0], None
        return
    for layer in adapted_layers(model):
        if not isinstance(layer, AdaptedLinear) and (own := [name for name in asked if name in layer.adapters]):
            raise GroundupError(
                f"the adapter {own[0]!r} has rows of its own for some tokens, which the texts of a batch cannot each have; "
                "serve it alone, or merge it"
            )
    place = next(model.parameters()).device
    switch.rows = tuple(
        (name, torch.tensor([row for row, each in enumerate(asked) if each == name], device=place))
        for name in dict.fromkeys(asked)
        if name != BASE
    )


@contextmanager
def adapters_kept(model: LanguageModel) -> Iterator[None]:
    """Afterwards the adapters are switched as they were before; a model without any is left alone."""
    switch = switch_of(model)
    before = replace(switch) if switch else None
    try:
        yield
    finally:
        if switch and before:
            switch.active, switch.rows = before.active, before.rows


def remove_adapters(model: LanguageModel) -> LanguageModel:
    """Take all adapters away, in place; what is left is the base, or the base with the adapter that is merged into it."""
    for name, layer in [(name, module) for name, module in model.named_modules() if isinstance(module, Adapted)]:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.base)
    return model


def adapted_layers(model: LanguageModel) -> list[Adapted]:
    """The layers that adapters go on."""
    return [module for module in model.modules() if isinstance(module, Adapted)]


def switch_of(model: LanguageModel) -> Switch | None:
    """The switch of a model's adapters, None when it has none."""
    return next((module.switch for module in model.modules() if isinstance(module, Adapted)), None)


def _required(model: LanguageModel) -> Switch:
    switch = switch_of(model)
    if switch is None:
        raise GroundupError("the model has no adapter; add one with add_adapter, or open an adapter's folder")
    return switch


def _check_whole(switch: Switch, name: str) -> None:
    """Refuse to switch to another adapter than one that replaced weights of the model."""
    for owner, weights in switch.whole.items():
        if name != owner:
            raise GroundupError(
                f"the adapter {owner!r} brought {', '.join(weights)} whole, which cannot be switched off; open the base, or the "
                "other adapter, as a model of its own"
            )


def _wrapped(model: LanguageModel, name: str, kind: type[Adapted], switch: Switch) -> Adapted:
    """The layer of that name, wrapped now if it was not."""
    module = model.get_submodule(name)
    if isinstance(module, Adapted):
        return module
    layer = kind(module, switch).train(module.training)
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)
    return layer


def _strength(config: AdapterConfig, target: str, published: str | None) -> tuple[int, float | None]:
    """Rank and alpha of one matrix; of the patterns that mean it, the last wins."""
    rank, alpha = config.rank, config.alpha
    for pattern, value in config.rank_pattern.items():
        rank = value if matches(pattern, target, published) else rank
    for pattern, value in config.alpha_pattern.items():
        alpha = value if matches(pattern, target, published) else alpha
    return rank, alpha
