"""What the model would say after each of its layers: the logit lens.

The one idea: every block adds to one stream, so what the stream holds half-way can be read as the end is read: through the
final norm and the head (nostalgebraist 2020, "interpreting GPT: the logit lens"). The picture shows at which layer a guess
appears, and from which on it stays. Early layers need not speak the head's language, so a blank stare there says little.

Shapes: B batch, T tokens, D d_model, V vocab_size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Group, RenderableType
from torch import Tensor, nn

from groundup.inspect.page import escape
from groundup.inspect.terminal import terminal_table, visible
from groundup.inspect.tokens import piece_of
from groundup.models.base import LanguageModel
from groundup.tokenization.tokenizer import Tokenizer

_MOST_COLUMNS = 7  # layers in a line of the terminal


@dataclass(frozen=True)
class LayerGuesses:
    """What the stream says after one layer, at each position."""

    name: str  # "embedding", or the number of the block
    likeliest: tuple[tuple[tuple[str, float], ...], ...]  # for each position (piece, probability), likeliest first
    entropy_bits: tuple[float, ...]
    came_rank: tuple[int | None, ...]  # of the token that came next; None at the end


@torch.no_grad()
def logit_lens(model: LanguageModel, tokenizer: Tokenizer, text: str, n_likeliest: int = 5) -> list[LayerGuesses]:
    """The guesses of the embedding and after each block, for a `text` that fits the context; probabilities at temperature 1.

    Those after the last block are the model's own.
    """
    ids = tokenizer.encode(text)
    if not ids:
        return []
    tokens_BT = torch.tensor([ids], device=next(model.parameters()).device)
    training = model.training
    model.eval()
    try:
        with _stream(model) as seen:
            model.trunk(tokens_BT)
        names = ["embedding", *map(str, range(len(seen) - 1))]
        return [
            _guesses(name, model.unembed(model.final_norm(hidden))[0], ids, tokenizer, n_likeliest)
            for name, hidden in zip(names, seen, strict=True)
        ]
    finally:
        model.train(training)


def settled_at(layers: list[LayerGuesses], position: int) -> str:
    """The layer from which on the likeliest token at a position stays what it is at the end."""
    last = layers[-1].likeliest[position][0][0]
    settled = layers[-1].name
    for layer in reversed(layers):
        if layer.likeliest[position][0][0] != last:
            break
        settled = layer.name
    return settled


def lens_terminal(layers: list[LayerGuesses], pieces: list[str]) -> RenderableType:
    """A table: each token read, and the likeliest next one after each layer (some of them, where they are many)."""
    shown = _some(layers)
    rows = [
        (visible(piece), *(_cell(layer, at) for layer in shown), settled_at(layers, at))
        for at, piece in enumerate(pieces)
    ]
    header = ("after", *(layer.name if layer is layers[0] else f"layer {layer.name}" for layer in shown), "settled at")
    title = "Layer by layer: the likeliest next token if the model ended there (logit lens)"
    return Group(title, "", terminal_table(header, rows))


def lens_html(layers: list[LayerGuesses], pieces: list[str]) -> str:
    """The same as part of a page: layers from the top down to the embedding, darker where surer; hover for more."""
    if not layers:
        return ""
    head = "".join(f"<th><code>{escape(visible(piece))}</code></th>" for piece in pieces)
    rows = ""
    for layer in reversed(layers):
        cells = ""
        for at, top in enumerate(layer.likeliest):
            piece, p = top[0]
            tip = "\n".join(f"{visible(one)} {share:.1%}" for one, share in top)
            tip += f"\nunsure: {layer.entropy_bits[at]:.2f} bits"
            if layer.came_rank[at] is not None:
                tip += f"\nwhat came has rank {layer.came_rank[at]:,}"
            mark = ' class="came"' if layer.came_rank[at] == 1 else ""
            shade = round(100 * math.sqrt(p) * 0.8)
            colour = f"color-mix(in srgb, #0072b2 {shade}%, transparent)"
            cells += f'<td{mark} style="background: {colour}" title="{escape(tip)}">{escape(visible(piece))}</td>'
        name = layer.name if layer is layers[0] else f"layer {layer.name}"
        rows += f"<tr><th>{escape(name)}</th>{cells}</tr>"
    return (
        "<style>.lens td { font: .78rem ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; padding: .3rem .45rem;"
        " border: 1px solid var(--paper); white-space: pre; max-width: 9rem; overflow: hidden; text-overflow: ellipsis; }"
        " .lens th { padding: .3rem .45rem; white-space: pre; border: 0; } .lens .came { font-weight: 700; text-decoration:"
        " underline; }</style>"
        "<h2>Layer by layer</h2><p class='soft'>What the model would say next if it ended after that layer (logit lens). Darker: "
        "surer. Underlined: what did come. Point at a cell for the five likeliest.</p>"
        f'<div class="scroll"><table class="lens"><tr><th>after</th>{head}</tr>{rows}</table></div>'
    )


@contextmanager
def _stream(model: LanguageModel) -> Iterator[list[Tensor]]:
    """A list that fills, while the model reads, with what goes into its first block and what comes out of each."""
    seen: list[Tensor] = []

    def enter(_module: nn.Module, given: tuple[Any, ...]) -> None:
        seen.append(given[0])

    def leave(_module: nn.Module, _given: tuple[Any, ...], gave: Any) -> None:
        seen.append(gave if isinstance(gave, Tensor) else gave[0])

    blocks = list(model.blocks)
    hooks = [blocks[0].register_forward_pre_hook(enter), *(block.register_forward_hook(leave) for block in blocks)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _guesses(name: str, logits_TV: Tensor, ids: list[int], tokenizer: Tokenizer, n_likeliest: int) -> LayerGuesses:
    log_p_TV = torch.log_softmax(logits_TV.float(), dim=-1).cpu()
    p_TV = log_p_TV.exp()
    top = p_TV.topk(min(n_likeliest, p_TV.shape[1]))
    likeliest = tuple(
        tuple((piece_of(tokenizer, id), p) for id, p in zip(some, shares, strict=True))
        for some, shares in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    )
    entropies = -(p_TV * log_p_TV.clamp_min(-1e4)).sum(-1) / math.log(2)
    ranks = [int((p_TV[t] > p_TV[t, came]).sum()) + 1 for t, came in enumerate(ids[1:])]
    return LayerGuesses(name, likeliest, tuple(entropies.tolist()), (*ranks, None))


def _some(layers: list[LayerGuesses]) -> list[LayerGuesses]:
    """All layers, or as many as a line has room for, evenly spread, the first and the last among them."""
    n = len(layers)
    if n <= _MOST_COLUMNS:
        return layers
    return [layers[round(i * (n - 1) / (_MOST_COLUMNS - 1))] for i in range(_MOST_COLUMNS)]


def _cell(layer: LayerGuesses, position: int) -> str:
    piece, p = layer.likeliest[position][0]
    return f"{visible(piece)} {p:.0%}"
