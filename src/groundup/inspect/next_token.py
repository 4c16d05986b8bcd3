"""What the model expects: after each token, the likeliest next ones and how unsure it is.

The one idea: a language model's whole answer is a distribution over the vocabulary. Its entropy (Shannon 1948, section
6) says how open the text is at that place; the surprise of the token that came is what training makes smaller. How the
answer comes about layer by layer is shown by logit_lens.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from rich.console import Group, RenderableType

from groundup.inspect.logit_lens import lens_html, lens_terminal, logit_lens
from groundup.inspect.page import Raw, escape, page, table
from groundup.inspect.terminal import terminal_table, visible
from groundup.inspect.tokens import piece_of
from groundup.models.base import LanguageModel
from groundup.tokenization.tokenizer import Tokenizer


@dataclass(frozen=True)
class Guess:
    """The model's expectation at one position."""

    piece: str  # the token just read
    entropy_bits: float
    likeliest: tuple[tuple[str, float], ...]  # (piece, probability), likeliest first
    came: str | None  # the token that came next; None at the end
    came_probability: float | None
    came_rank: int | None  # 1 is the likeliest


@torch.no_grad()
def next_token_guesses(model: LanguageModel, tokenizer: Tokenizer, text: str, n_likeliest: int = 5) -> list[Guess]:
    """One `Guess` for each token of `text`, which must fit the model's context; probabilities at temperature 1."""
    ids = tokenizer.encode(text)
    if not ids:
        return []
    was_training = model.training
    place = next(model.parameters()).device
    logits_TV = model.eval()(torch.tensor([ids], device=place))[0].float()
    model.train(was_training)
    log_p_TV = torch.log_softmax(logits_TV, dim=-1).cpu()
    p_TV = log_p_TV.exp()
    entropies = -(p_TV * log_p_TV.clamp_min(-1e4)).sum(-1) / math.log(2)
    guesses = []
    for position, id in enumerate(ids):
        top = p_TV[position].topk(min(n_likeliest, p_TV.shape[1]))
        likeliest = tuple(
            (piece_of(tokenizer, i), p) for i, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        )
        came = ids[position + 1] if position + 1 < len(ids) else None
        p = None if came is None else p_TV[position, came].item()
        rank = None if came is None else int((p_TV[position] > p_TV[position, came]).sum()) + 1
        name = None if came is None else piece_of(tokenizer, came)
        guesses.append(Guess(piece_of(tokenizer, id), entropies[position].item(), likeliest, name, p, rank))
    return guesses


_HEADER = ("after", "bits", "likeliest next", "what came", "with", "rank")


def next_token_terminal(model: LanguageModel, tokenizer: Tokenizer, text: str, n_likeliest: int = 5) -> RenderableType:
    """A table: each token of `text`, the entropy after it, the likeliest next tokens, and what came; then layer by layer."""
    rows, guesses = [], next_token_guesses(model, tokenizer, text, n_likeliest)
    for guess in guesses:
        likeliest = "  ".join(f"{visible(piece)} {p:.0%}" for piece, p in guess.likeliest)
        rows.append((visible(guess.piece), f"{guess.entropy_bits:.2f}", likeliest, *_what_came(guess)))
    layers = logit_lens(model, tokenizer, text, n_likeliest)
    return Group(
        terminal_table(_HEADER, rows, numbers=(1, 4, 5)), "", lens_terminal(layers, [guess.piece for guess in guesses])
    )


def next_token_html(model: LanguageModel, tokenizer: Tokenizer, text: str, n_likeliest: int = 5) -> str:
    """The same as a page, probabilities as bars."""
    rows, guesses = [], next_token_guesses(model, tokenizer, text, n_likeliest)
    for guess in guesses:
        bars = "".join(
            f'<div class="bar" style="background: linear-gradient(90deg, #0072b240 {p:.1%}, #0000 {p:.1%})">'
            f"<code>{escape(visible(piece))}</code> <span class='soft'>{p:.1%}</span></div>"
            for piece, p in guess.likeliest
        )
        piece = Raw(f"<code>{escape(visible(guess.piece))}</code>")
        rows.append((piece, f"{guess.entropy_bits:.2f}", Raw(bars), *_what_came(guess)))
    lens = lens_html(logit_lens(model, tokenizer, text, n_likeliest), [guess.piece for guess in guesses])
    return page("Next tokens", f"<h1>What the model expects</h1>{table(rows, _HEADER)}{lens}")


def _what_came(guess: Guess) -> tuple[str, str, str]:
    if guess.came is None or guess.came_probability is None:
        return "", "", ""
    return visible(guess.came), f"{guess.came_probability:.2%}", f"{guess.came_rank:,}"
