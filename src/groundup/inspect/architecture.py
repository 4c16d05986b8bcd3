"""A model part by part: shapes, parameters, arithmetic, memory, and a drawing of how the parts are joined.

The one idea: everything a model costs follows from its matrices. A weight is multiplied and added once forward and
twice backward (Kaplan et al. 2020, section 2.1); in training it brings a gradient and what the optimizer remembers.
What the layers keep for the backward pass is not guessed: a short text is read and what autograd saves is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from rich.console import Group, RenderableType
from torch import Tensor

from groundup.core.files import readable_bytes
from groundup.inspect.model_drawing import model_drawing, shape_text
from groundup.inspect.model_tree import Node, model_tree
from groundup.inspect.page import COLOURS, Raw, escape, page, readable_count, table
from groundup.inspect.terminal import terminal_table
from groundup.models.base import LanguageModel

_HEADER = ("part", "kind", "shape", "parameters", "share")
_MEMORY_HEADER = ("memory", "fp32", "bf16")
_READ_TOKENS = 128  # for what autograd keeps; it grows in proportion
_SMALL = 0.02  # of all parameters: too thin to be seen in a bar
_DTYPES = (torch.float32, torch.bfloat16)


def training_memory_bytes(
    model: LanguageModel, *, muon: bool = True, dtype: torch.dtype = torch.float32
) -> dict[str, int]:
    """Bytes training holds for the weights: fp32 weights, gradients, the optimizer's memory of them, copies to compute in.

    Muon remembers one number a weight of the matrices, AdamW two for every other. Computing in `dtype` bfloat16 takes a
    copy of the weights while a step lasts.
    """
    counts = {role: sum(p.numel() for _, p in of) for role, of in model.parameter_roles().items()}
    n_all = sum(counts.values())
    n_remembered = 2 * n_all - (counts["matrices"] if muon else 0)
    n_copied = 0 if dtype == torch.float32 else n_all
    return {
        "weights": 4 * n_all,
        "gradients": 4 * n_all,
        "optimizer": 4 * n_remembered,
        "copies": dtype.itemsize * n_copied,
    }


def kept_bytes_per_token(model: LanguageModel, dtype: torch.dtype = torch.float32) -> float:
    """Bytes that the blocks keep for the backward pass, a token of the batch, when they compute in `dtype`.

    Counted on one row of at most 128 tokens; the model is left as it was.
    """
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    n_tokens = min(_READ_TOKENS, model.config.context_length)
    tokens_BT = torch.arange(n_tokens, device=next(model.parameters()).device)[None] % model.config.vocab_size
    training, computed = model.training, model.compute_dtype
    model.compute_dtype = dtype
    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            hidden = model.train().trunk(tokens_BT)
            total = sum(kept.values())
        del hidden
    finally:
        model.train(training).compute_dtype = computed
    # A weight in another dtype than the computation's is saved as a copy: that is one of the model, not of the batch.
    copies = sum(p.numel() for _, p in model.parameter_roles()["matrices"] if p.dtype != dtype) * dtype.itemsize
    return max(0, total - copies) / n_tokens


def architecture_terminal(model: LanguageModel) -> RenderableType:
    """The tree of the model as a table, then what a token costs, then memory."""
    facts = terminal_table(("", ""), _facts(model))
    facts.show_header = False
    rows = _rows(model_tree(model))
    memory = terminal_table(_MEMORY_HEADER, _memory(model), numbers=(1, 2))
    return Group(terminal_table(_HEADER, rows, numbers=(3, 4)), "", facts, "", memory, "", _MEMORY_NOTE)


def architecture_html(model: LanguageModel) -> str:
    """The same as a page, with a drawing."""
    tree = model_tree(model)
    rows = [(Raw(f"<code>{escape(name)}</code>"), *cells) for name, *cells in _rows(tree)]
    facts = table([(name, Raw(escape(value))) for name, value in _facts(model)])
    body = (
        f"<h1>{escape(tree.name)}</h1><p class='soft'>{tree.n_parameters:,} parameters, part by part.</p>{_shares(tree)}"
        f"<h2>How it is built</h2>{model_drawing(model)}"
        f"<h2>What it costs</h2>{facts}<h3>Memory</h3>{table(_memory(model), _MEMORY_HEADER)}"
        f"<p class='soft'>{escape(_MEMORY_NOTE)}</p><h2>Every part</h2>{table(rows, _HEADER)}"
    )
    return page(f"{tree.name}, part by part", body)


def _rows(tree: Node) -> list[tuple[str, str, str, str, str]]:
    """The tree as lines; a layer that is a weight, or a weight and a bias, is one line with their shapes.

    Parameters are of all copies of a part together, shapes of one.
    """

    def lines(nodes: tuple[Node, ...], before: str, n_around: int) -> Iterator[tuple[str, str, str, str, str]]:
        for node in nodes:
            is_last = node is nodes[-1]
            is_one_line = node.shape is not None or {child.name for child in node.children} <= {"weight", "bias"}
            shape = shape_text(*(node.children or (node,))) if is_one_line else ""
            n_here = node.n_copies // n_around
            yield (
                f"{before}{'└' if is_last else '├'} {node.name}",
                node.kind,
                ", ".join(filter(None, (shape, f"{n_here:,} alike" if n_here > 1 else "", node.note))),
                f"{node.n_parameters:,}",
                f"{node.n_parameters / tree.n_parameters:.1%}",
            )
            if not is_one_line:
                yield from lines(node.children, before + ("  " if is_last else "│ "), node.n_copies)

    whole = (tree.name, "", "", f"{tree.n_parameters:,}", "100.0%")
    return [whole, *lines(tree.children, "", 1)]


def _facts(model: LanguageModel) -> list[tuple[str, str]]:
    config = model.config
    length, flops = config.context_length, model.flops_per_token()
    mixing = config.mixing_flops_per_token(length) / flops
    where = f"at a context of {length:,}, {mixing:.0%} of it in attention" if mixing else "whatever the context"
    active = config.active_matrix_parameters() - config.matrix_parameters() + config.n_parameters()
    some = f"; {active:,} of them at work on a token" if active < config.n_parameters() else ""
    return [
        ("parameters", f"{model.n_parameters():,}, without embeddings {model.n_parameters(embeddings=False):,}{some}"),
        ("arithmetic to train on a token", f"{readable_count(flops)} FLOPs {where}"),
        ("arithmetic to read or write one", f"{readable_count(flops / 3)} FLOPs (a third: forward only)"),
    ]


_MEMORY_NOTE = (
    "To train, weights, gradients and optimizer (Muon) stay in fp32; bf16 computes with copies of the weights. `groundup plan` "
    "foretells the peak of a whole run on this machine."
)


def _memory(model: LanguageModel) -> list[tuple[str, str, str]]:
    """Memory to run and to train, computing in fp32 and in bf16."""
    config, n = model.config, model.n_parameters()
    rows: list[tuple[str, Sequence[float]]] = [("to run: weights", [n * dtype.itemsize for dtype in _DTYPES])]
    at_first, of_one, full = (
        [config.state_bytes(n_read, dtype) for dtype in _DTYPES] for n_read in (0, 1, config.context_length)
    )
    grows = [one - none for one, none in zip(of_one, at_first, strict=True)]
    if any(grows):
        rows.append(("decode state, a token", grows))
    if any(at_first):
        rows.append(("decode state, however long the text", at_first))
    if any(grows):
        rows.append((f"decode state, a full context of {config.context_length:,}", full))
    rows.append(("to run: together", [n * dtype.itemsize + more for dtype, more in zip(_DTYPES, full, strict=True)]))
    parts = [training_memory_bytes(model, dtype=dtype) for dtype in _DTYPES]
    rows += [(f"to train: {name}", [part[name] for part in parts]) for name in parts[0]]
    rows.append(("to train: together", [sum(part.values()) for part in parts]))
    kept = [kept_bytes_per_token(model, dtype) for dtype in _DTYPES]
    rows.append(("and for each token of the batch", kept))
    readable = lambda n_bytes: readable_bytes(n_bytes) if n_bytes else "–"  # noqa: E731 - used in the next line only
    return [(name, readable(in_fp32), readable(in_bf16)) for name, (in_fp32, in_bf16) in rows]


def _shares(tree: Node) -> str:
    """A bar of the parameters: tables, and the parts of all blocks together by their names; small ones as one."""
    shares: dict[str, int] = {}
    for node in tree.children:
        for part in node.children if node.name.startswith("blocks") else (node,):
            shares[part.name] = shares.get(part.name, 0) + part.n_parameters
    small = {name: n for name, n in shares.items() if n < _SMALL * tree.n_parameters}
    shares = {name: n for name, n in shares.items() if name not in small} | {
        "norms and other small parts": sum(small.values())
    }
    bar = legend = ""
    for index, (name, n) in enumerate(shares.items()):
        colour, share = COLOURS[index % len(COLOURS)], n / tree.n_parameters
        bar += f'<span style="width: {share:.2%}; background: {colour}" title="{escape(name)} {share:.1%}"></span>'
        legend += f'<span><i style="background: {colour}"></i>{escape(name)} {share:.1%}</span>'
    return (
        "<style>.shares { display: flex; height: 1.1rem; border-radius: 5px; overflow: hidden; margin: 1.2rem 0 .5rem; }"
        ".legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .85rem; } .legend i { display: inline-block;"
        " width: .7rem; height: .7rem; border-radius: 2px; margin-right: .35rem; }</style>"
        f'<div class="shares">{bar}</div><div class="legend">{legend}</div>'
    )
