"""The layers of a model as a tree: what holds what, the shape of every weight, and how many parameters each part has.

The one idea: blocks that are built alike are one branch. Two blocks are alike when all their parts have the same kinds,
sizes and settings (all but the number of their layer), so a model that takes turns between kinds of blocks shows each kind
once, with the numbers of the blocks that are of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from groundup.models.base import LanguageModel


@dataclass(frozen=True)
class Node:
    """A part of the model: a module, or a parameter (then it has a shape). Counts are of all its copies together."""

    name: str
    kind: str  # the module's class; nothing for a parameter
    shape: tuple[int, ...] | None
    n_copies: int
    n_parameters: int
    children: tuple[Node, ...] = ()
    note: str = ""  # what tells its kind of block from others of the same shapes


@dataclass(frozen=True)
class Part:
    """Equal parameters of all blocks together: `shape` of one, how many there are."""

    name: str
    shape: tuple[int, ...]
    n_copies: int
    n_parameters: int


def model_tree(model: LanguageModel) -> Node:
    """The whole model; modules without parameters are left out, a matrix used twice stands where it was first."""
    children = _children([model], set())
    # What is embedded comes first, in whatever order a model was put together.
    children = tuple(sorted(children, key=lambda child: "embedding" not in child.name))
    return Node(model.config.architecture, "", None, 1, sum(child.n_parameters for child in children), children)


def model_parts(model: LanguageModel) -> list[Part]:
    """Every parameter once, in the order of the tree; those of blocks that are alike gathered under one name."""
    parts: list[Part] = []

    def gather(nodes: Sequence[Node], path: str) -> None:
        for node in nodes:
            if node.shape is not None:
                parts.append(Part(path + node.name, node.shape, node.n_copies, node.n_parameters))
            gather(node.children, f"{path}{node.name}.")

    gather(model_tree(model).children, "")
    return parts


def alike(blocks: Iterable[nn.Module]) -> list[list[int]]:
    """The indices of blocks that are built alike, each kind once, in the order in which the kinds first come."""
    kinds: dict[str, list[int]] = {}
    for index, block in enumerate(blocks):
        settings = [(name, sorted(_settings(module).items())) for name, module in block.named_modules()]
        shapes = [tuple(parameter.shape) for parameter in block.parameters()]
        kinds.setdefault(f"{block!r} {settings} {shapes}", []).append(index)
    return list(kinds.values())


def _settings(module: nn.Module) -> dict[str, object]:
    """The plain values a module was built with, except those that every layer has of its own."""
    plain = {name: value for name, value in vars(module).items() if isinstance(value, int | float | str | None)}
    return {name: str(value) for name, value in plain.items() if name not in ("layer", "training")}


def numbers(indices: Sequence[int]) -> str:
    """`[0, 1, 2]` as `0–2`, `[0, 2, 4, 6]` as `0, 2 … 6`, others one by one."""
    steps = {after - before for before, after in itertools.pairwise(indices)}
    if len(indices) > 2 and steps == {1}:
        return f"{indices[0]}–{indices[-1]}"
    if len(indices) > 3 and len(steps) == 1:
        return f"{indices[0]}, {indices[1]} … {indices[-1]}"
    return ", ".join(map(str, indices))


def _children(copies: Sequence[nn.Module], seen: set[int]) -> tuple[Node, ...]:
    """The parts of modules that are alike: parameters of their own, then modules that hold any not `seen` before."""
    first, nodes = copies[0], []
    for name, parameter in first.named_parameters(recurse=False):
        if id(parameter) not in seen:
            seen.add(id(parameter))
            shape, n = tuple(parameter.shape), len(copies)
            nodes.append(Node(name, "", shape, n, n * parameter.numel()))
    for name, child in first.named_children():
        same = [copy.get_submodule(name) for copy in copies]
        if not isinstance(child, nn.ModuleList):
            nodes += _node(name, same, seen)
            continue
        for indices in alike(child):
            members = [a_list[index] for a_list in same if isinstance(a_list, nn.ModuleList) for index in indices]
            nodes += _node(f"{name}.{numbers(indices)}", members, seen)
    return tuple(nodes)


def _node(name: str, copies: list[nn.Module], seen: set[int]) -> list[Node]:
    """One node, or none when the modules hold no parameters that were not there already."""
    children = _children(copies, seen)
    n_parameters = sum(child.n_parameters for child in children)
    if not children:
        return []
    window = getattr(copies[0], "window", None)
    note = f"window of {window:,} tokens" if isinstance(window, int) else ""
    return [Node(name, type(copies[0]).__name__, None, len(copies), n_parameters, children, note)]
