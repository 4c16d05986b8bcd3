"""How the parts of a block are joined: which reads the stream, which reads another part, where the sum is taken.

The one idea: the wiring is not read from the code but seen in the numbers. A token or two pass through the model, and the
inputs and outputs of every part of a block are kept: a part whose input is the stream reads the stream; one whose input
is another's output follows it; where an input is the stream plus what was put out before, a sum was taken (the residual
connection: He et al. 2016, section 3.2). A part whose input is none of these follows the part at work before it, and is
marked as joined in a way that was not seen: a gate, a cut, a scan lies between.

Shapes: B batch, T tokens, D d_model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from groundup.models.base import LanguageModel


@dataclass(frozen=True)
class Step:
    """One movement of the stream: `branches` are chains of parts that all read it; their outputs are added to it, or
    replace it. `loose` are the parts whose input was not just the output of the part before them."""

    branches: tuple[tuple[str, ...], ...]
    is_added: bool
    loose: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Call:
    """A part at work: what it was given and what it gave."""

    name: str
    given: Tensor
    gave: Tensor


def block_structure(model: LanguageModel, index: int) -> list[Step] | None:
    """The steps of block `index`, parts named as the block names them; None when the numbers do not tell."""
    calls, entered, left = _watch(model, index)
    if entered is None or left is None:
        return None
    stream = entered
    steps: list[Step] = []
    chains: list[list[_Call]] = []
    loose: set[str] = set()

    def close(is_added: bool) -> None:
        steps.append(Step(tuple(tuple(call.name for call in chain) for chain in chains), is_added, frozenset(loose)))
        loose.clear()

    def is_sum(value: Tensor) -> bool:
        ends = [chain[-1].gave for chain in chains]
        return bool(ends) and all(end.shape == stream.shape for end in ends) and _same(value, stream + sum(ends))

    for call in calls:
        if call.given is stream:
            chains.append([call])
        elif follows := next((chain for chain in chains if call.given is chain[-1].gave), None):
            follows.append(call)
        elif is_sum(call.given):
            close(is_added=True)
            stream, chains = call.given, [[call]]
        elif follows := next((chain for chain in reversed(chains) if _same(call.given, chain[-1].gave)), None):
            follows.append(call)
        elif _same(call.given, stream):
            chains.append([call])
        elif chains:
            chains[-1].append(call)
            loose.add(call.name)
        else:
            return None
    if is_sum(left):
        close(is_added=True)
    elif len(chains) == 1 and _same(left, chains[0][-1].gave):
        close(is_added=False)
    else:
        return None
    return steps


@torch.no_grad()
def _watch(model: LanguageModel, index: int) -> tuple[list[_Call], Tensor | None, Tensor | None]:
    """The parts of block `index` at work on two tokens, in their order, and what went into the block and came out."""
    block = model.get_submodule(f"blocks.{index}")
    calls: list[_Call] = []
    ends: list[Tensor | None] = [None, None]

    def keep(name: str) -> Any:
        def look(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], gave: Any) -> None:
            before, after = _tensor((*given, *named.values())), _tensor((gave,))
            if before is None or after is None:
                return
            if name:
                calls.append(_Call(name, before, after))
            else:
                ends[:] = before, after

        return look

    parts = [(name, part) for name, part in block.named_children() if not isinstance(part, nn.Dropout | nn.Identity)]
    hooks = [part.register_forward_hook(keep(name), with_kwargs=True) for name, part in [*parts, ("", block)]]
    training = model.training
    try:
        tokens_BT = torch.arange(min(2, model.config.vocab_size, model.config.context_length))[None]
        model.eval().trunk(tokens_BT.to(next(model.parameters()).device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return calls, ends[0], ends[1]


def _tensor(values: tuple[Any, ...]) -> Tensor | None:
    """The first tensor of floating point among them, or in a tuple among them."""
    for value in values:
        if isinstance(value, Tensor) and value.is_floating_point():
            return value
        if isinstance(value, tuple) and (found := _tensor(value)) is not None:
            return found
    return None


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors agree to rounding in the coarser of their dtypes."""
    if one.shape != other.shape:
        return False
    eps = max(torch.finfo(one.dtype).eps, torch.finfo(other.dtype).eps)
    return bool((one.float() - other.float()).abs().max() <= 8 * eps * one.float().abs().max())
