"""An adapter folded into the weights it goes on: computed in fp32, exact to undo.

A merged model is as fast as its base and opens anywhere. The sum is made in fp32 and rounded once to the base's dtype.
The weights as they were are kept aside, because subtracting what was added would not give them back in their bits. A base
in 8 or 4 bits is refused: rounding the sum to them would lose most of what was learned (the delta is smaller than
their steps), so one merges onto the model's original.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from groundup.adapters.layers import AdaptedLinear, LowRank, wide_weight
from groundup.adapters.lora import adapted_layers, switch_of
from groundup.adapters.tokens import TokenRows
from groundup.core.errors import GroundupError, unknown_name
from groundup.models import LanguageModel
from groundup.models.layers.linear import Linear


@torch.no_grad()
def merge_adapter(model: LanguageModel, name: str | None = None) -> LanguageModel:
    """Fold an adapter (default: the active one) into the weights, in place; gives the model, which computes as before.

    Raises GroundupError when there is no such adapter, one is merged already, or the base is kept in few bits.
    """
    switch = switch_of(model)
    if switch is None:
        raise GroundupError("the model has no adapter to merge")
    if switch.merged:
        raise GroundupError(f"the adapter {switch.merged!r} is merged already")
    name = name or switch.active
    if name is None or name not in switch.names:
        raise unknown_name("adapter", str(name), switch.names)
    layers = [layer for layer in adapted_layers(model) if name in layer.adapters]
    if any(isinstance(layer, AdaptedLinear) and type(layer.base) is not Linear for layer in layers):
        raise GroundupError(
            "the base is kept in few bits, and rounding to them would lose what the adapter learned; open it with the base "
            "in fp32 or bf16, and merge there"
        )
    for layer in layers:
        weight = layer.base.weight
        assert isinstance(weight, Tensor)
        merged = _merged(layer.base, layer.adapters[name]).to(weight.dtype)
        assert isinstance(weight, nn.Parameter)
        # A parameter of its own: the old one may be shared with another model.
        layer.aside, layer.base.weight = [weight], nn.Parameter(merged, requires_grad=False)
    switch.merged, switch.active, switch.rows = name, None, None
    return model


def unmerge_adapter(model: LanguageModel) -> LanguageModel:
    """Put back the weights as they were before `merge_adapter`, to the bit, and switch the adapter on; gives the model."""
    switch = switch_of(model)
    if switch is None or switch.merged is None:
        raise GroundupError("no adapter is merged into this model")
    for layer in adapted_layers(model):
        if layer.aside:
            layer.base.weight = layer.aside.pop()
    switch.merged, switch.active = None, switch.merged
    return model


def _merged(base: nn.Module, path: nn.Module) -> Tensor:
    """The weight in fp32 that computes what base and path compute together."""
    if isinstance(path, TokenRows):
        assert isinstance(base.weight, Tensor)
        return base.weight.float().index_copy(0, path.ids, path.rows.float())
    assert isinstance(path, LowRank)
    weight = wide_weight(base) + path.delta()
    if path.magnitude is not None:
        weight = weight * (path.magnitude.float() / path.lengths(base))[:, None]
    return weight
