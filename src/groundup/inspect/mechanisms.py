"""Attention on a few words, mechanism by mechanism: scores, weights and context vectors, every number to be seen.

The one idea: each mechanism changes one thing of the one before (weights, what is seen, how many heads, who shares keys,
what distance costs), so the pictures side by side show what that thing does. The first six are the textbook's steps
(models/layers/textbook.py), with its example and its published numbers; the rest are what models have besides.

Shapes: T words, D numbers a word, K numbers a head, H heads, G heads of keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.console import Group, RenderableType
from rich.text import Text
from torch import Tensor

from groundup.core.errors import GroundupError, unknown_name
from groundup.inspect.heat_map import heat_map
from groundup.inspect.page import escape, page, table
from groundup.inspect.terminal import terminal_table, visible
from groundup.models.layers.alibi import alibi_slopes, with_alibi
from groundup.models.layers.attention import reference_attention
from groundup.models.layers.textbook import (
    EMBEDDINGS,
    WORDS,
    Projection,
    Steps,
    causal_attention,
    heads_apart,
    heads_together,
    side_by_side,
    simple_attention,
    trainable_attention,
)

_MOST_WORDS = 24
_LARGEST = 256
_MOST_IN_FULL = 6  # words whose numbers fit a terminal with four digits
_SHOWN = 5  # mechanisms that the terminal shows unasked: the next has the numbers of the last of them
# Seeds of the book: its first version's weights and dropped weights, and its second version's.
_FIRST_SEED, _SECOND_SEED = 123, 789


@dataclass(frozen=True)
class Mechanism:
    """One way to attend, on these words; scores are minus infinity where a word may not look."""

    name: str
    idea: str
    scores_HTT: Tensor
    weights_HTT: Tensor
    context_TN: Tensor  # of all heads side by side


@dataclass(frozen=True)
class Example:
    """The words, their vectors [T, D], and the sizes of attention."""

    words: tuple[str, ...] = WORDS
    x_TD: Tensor | None = None
    d_head: int = 2
    n_heads: int = 2
    window: int = 3
    dropout: float = 0.5

    @property
    def vectors_TD(self) -> Tensor:
        """The words' vectors: those of the book unless others were given."""
        return torch.tensor(EMBEDDINGS) if self.x_TD is None else self.x_TD


def example_of(
    words: Sequence[str],
    *,
    d_in: int | None = None,
    d_head: int = 2,
    n_heads: int = 2,
    window: int = 3,
    dropout: float = 0.5,
    seed: int = _FIRST_SEED,
) -> Example:
    """An example of a person's own words, each with `d_in` random numbers (3 if not given), the same for the same word.

    Without words it is the book's, whose vectors have 3. Raises GroundupError for sizes that make no example.
    """
    sizes = {"d_in": 3 if d_in is None else d_in, "d_head": d_head, "n_heads": n_heads, "window": window}
    if wrong := [f"{name} {value}" for name, value in sizes.items() if not 1 <= value <= _LARGEST]:
        raise GroundupError(f"{', '.join(wrong)}: must be at least 1, and at most {_LARGEST} to be looked at")
    if not 0 <= seed < 2**63:
        raise GroundupError(f"seed {seed} must be at least 0 and below 2^63")
    if not 0 <= dropout < 1:
        raise GroundupError(f"dropout {dropout:g} must be at least 0 and below 1")
    if not words:
        if d_in not in (None, len(EMBEDDINGS[0])):
            raise GroundupError(
                f"d_in {d_in}: the book's six words have {len(EMBEDDINGS[0])} numbers each; give words of your own"
            )
        return Example(d_head=d_head, n_heads=n_heads, window=window, dropout=dropout)
    if len(words) > _MOST_WORDS:
        raise GroundupError(f"{len(words)} words are too many to look at; give at most {_MOST_WORDS}")
    generator = torch.Generator().manual_seed(seed)
    vectors = {word: torch.rand(d_in or 3, generator=generator).mul(100).round() / 100 for word in dict.fromkeys(words)}
    x_TD = torch.stack([vectors[word] for word in words])
    return Example(tuple(words), x_TD, d_head, n_heads, window, dropout)


def mechanisms(example: Example) -> list[Mechanism]:
    """All mechanisms on an example, the textbook's steps first."""
    return _textbook_steps(example) + _further_mechanisms(example)


def _textbook_steps(example: Example) -> list[Mechanism]:
    x_TD, width = example.vectors_TD, example.d_head
    d_in, first, second = (
        x_TD.shape[1],
        _seeded(_FIRST_SEED),
        Projection.linear(x_TD.shape[1], width, _seeded(_SECOND_SEED)),
    )
    projections = [Projection.linear(d_in, width, first) for _ in range(example.n_heads)]
    apart, context = heads_apart(x_TD, projections)
    together, same = heads_together(x_TD, side_by_side(projections), example.n_heads)
    difference = float((same - context).abs().max())
    dropped = causal_attention(x_TD, second, dropout=example.dropout, generator=_seeded(_FIRST_SEED))
    heads = f"{example.n_heads} heads of {width}"
    uniform = Projection.uniform(d_in, width, _seeded(_FIRST_SEED))
    return [
        _of("simple", "Scores are products of the words' vectors; nothing is learned.", simple_attention(x_TD)),
        _of(
            "trainable",
            f"Learned matrices make queries, keys and values of {width}; scores are divided by √{width}.",
            trainable_attention(x_TD, uniform),
        ),
        _of("causal", "The same with other weights, and no word sees those behind it.", causal_attention(x_TD, second)),
        _of(
            "dropout",
            f"While training, each weight is dropped with probability {example.dropout:g}; the rest grow in turn.",
            dropped,
        ),
        _of("heads apart", f"{heads}, one after the other, their contexts side by side.", *apart),
        _of(
            "heads together",
            f"{heads} by one projection: the same numbers (greatest difference {difference:.0e}).",
            *together,
        ),
    ]


def _further_mechanisms(example: Example) -> list[Mechanism]:
    """What models have besides, each a change of the causal step, or of its several heads."""
    x_TD, width, window = example.vectors_TD, example.d_head, example.window
    order_T = torch.arange(len(x_TD))
    distance_TT = order_T[:, None] - order_T
    causal_TT = distance_TT >= 0
    near_TT = causal_TT & (distance_TT < window)
    n_heads = 2 * example.n_heads
    query, group = (Projection.linear(x_TD.shape[1], n * width, _seeded(_FIRST_SEED)) for n in (n_heads, n_heads // 2))
    single = Projection.linear(x_TD.shape[1], width, _seeded(_SECOND_SEED))
    shared = (query.query_DK, group.key_DK, group.value_DK)
    one = (query.query_DK, single.key_DK, single.value_DK)
    alone = (single.query_DK, single.key_DK, single.value_DK)
    biased_HTT = with_alibi(causal_TT[None, None], distance_TT[None], n_heads)[0]
    slopes = ", ".join(f"{slope:g}" for slope in alibi_slopes(n_heads))

    def made(
        name: str, idea: str, matrices: Sequence[Tensor], mask: Tensor, sinks_H: Tensor | None = None
    ) -> Mechanism:
        q_HTK, k_GTK, v_GTK = ((x_TD @ matrix).unflatten(1, (-1, width)).transpose(0, 1)[None] for matrix in matrices)
        out, weights = reference_attention(q_HTK, k_GTK, v_GTK, mask, sinks_H=sinks_H)
        k_HTK = k_GTK.repeat_interleave(q_HTK.shape[1] // k_GTK.shape[1], dim=1)
        scores = (q_HTK @ k_HTK.mT / width**0.5)[0]
        added = mask if mask.dtype != torch.bool else torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)
        return Mechanism(name, idea, scores + added, weights[0], out[0].transpose(0, 1).flatten(1))

    return [
        made("grouped-query", f"{n_heads} heads of queries, two of them for each head of keys.", shared, causal_TT),
        made("multi-query", f"{n_heads} heads of queries share one head of keys and values.", one, causal_TT),
        made("window", f"A word sees only the newest {window}, itself among them.", alone, near_TT),
        made(
            "window and first",
            "The first word stays in sight: what has nothing to look at leans on it.",
            alone,
            near_TT | (causal_TT & (order_T == 0)),
        ),
        made(
            "learned sink",
            "A learned score (here 0) of a place that holds nothing: rows sum to less than 1.",
            alone,
            causal_TT,
            torch.zeros(1),
        ),
        made("alibi", f"Distance is taken off the scores, {slopes} a word in each head.", one, biased_HTT),
    ]


def _of(name: str, idea: str, *heads: Steps) -> Mechanism:
    scores, weights = (torch.stack([getattr(head, part) for head in heads]) for part in ("scores_TS", "weights_TS"))
    return Mechanism(name, idea, scores, weights, torch.cat([head.context_TK for head in heads], dim=1))


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _chosen(example: Example, only: str | None) -> list[Mechanism]:
    every = mechanisms(example)
    if only is None:
        return every
    found = [mechanism for mechanism in every if mechanism.name == only.replace("-", " ") or mechanism.name == only]
    if not found:
        raise unknown_name("mechanism", only, [mechanism.name.replace(" ", "-") for mechanism in every])
    return found


def mechanisms_terminal(example: Example, only: str | None = None) -> RenderableType:
    """The textbook's steps as tables (scores, then weights and context vectors, a row for each word), the rest by name;
    or `only` one mechanism, by name."""
    words = [visible(word) for word in example.words]
    parts: list[RenderableType] = []
    chosen = _chosen(example, only)
    if only is None:
        rows = [(word, *_numbers(row)) for word, row in zip(words, example.vectors_TD, strict=True)]
        names = [f"x{number}" for number in range(1, len(rows[0]))]
        parts += [Text("the words and their vectors", "bold"), terminal_table(("", *names), rows), Text()]
    for mechanism in chosen if only else chosen[:_SHOWN]:
        parts += [Text(mechanism.name, "bold"), Text(mechanism.idea), *_tables(mechanism, words), Text()]
    if only is None:
        rows = [(each.name.replace(" ", "-"), each.idea) for each in chosen[_SHOWN:]]
        parts += [Text("more, each with --only NAME", "bold"), terminal_table(("", ""), rows)]
    return Group(*parts)


def _tables(mechanism: Mechanism, words: list[str]) -> list[RenderableType]:
    """Two tables for each head; four digits as in the book, two where the words are many."""
    n_heads, n_digits = len(mechanism.weights_HTT), 4 if len(words) <= _MOST_IN_FULL else 2
    contexts = mechanism.context_TN.unflatten(1, (n_heads, -1))
    tables: list[RenderableType] = []
    for head in range(n_heads):
        scores_TT, weights_TT = mechanism.scores_HTT[head], _seen(mechanism, head)
        scored = [(word, *_numbers(row, n_digits)) for word, row in zip(words, scores_TT, strict=True)]
        shared = [
            (word, *_numbers(row, n_digits), " ".join(_numbers(context, n_digits)))
            for word, row, context in zip(words, weights_TT, contexts[:, head], strict=True)
        ]
        if n_heads > 1:
            tables.append(Text(f"head {head + 1}", "dim"))
        numbers = range(1, len(words) + 2)
        tables.append(terminal_table(("scores", *words), scored, numbers=numbers[:-1]))
        tables.append(terminal_table(("weights", *words, "context"), shared, numbers=numbers))
    return tables


def _seen(mechanism: Mechanism, head: int) -> Tensor:
    """Weights [T, T], minus infinity where there can be none."""
    hidden_TT = mechanism.scores_HTT[head] == -torch.inf
    return mechanism.weights_HTT[head].masked_fill(hidden_TT, -torch.inf)


def mechanisms_html(example: Example, only: str | None = None) -> str:
    """A page with scores and weights of each mechanism as heat maps, and its context vectors in a table."""
    words = list(example.words)
    rows = [(word, *_numbers(row)) for word, row in zip(words, example.vectors_TD, strict=True)]
    body = (
        "<h1>Attention, mechanism by mechanism</h1><p class='soft'>Down: the word that looks. Across: the word looked at. "
        "Blue is above zero, orange below; what may not be seen is left open.</p>"
        f"<h2>The words and their vectors</h2>{table(rows)}"
    )
    for mechanism in _chosen(example, only):
        body += f"<h2>{escape(mechanism.name)}</h2><p>{escape(mechanism.idea)}</p>"
        n_heads = len(mechanism.weights_HTT)
        contexts = mechanism.context_TN.unflatten(1, (n_heads, -1))
        for head in range(n_heads):
            title = f"head {head + 1}: " if n_heads > 1 else ""
            scores, weights = mechanism.scores_HTT[head].tolist(), _seen(mechanism, head).tolist()
            body += (
                f'<div class="charts"><figure><figcaption>{title}scores</figcaption>'
                f"{heat_map(scores, words, words, what='scores')}</figure>"
                f"<figure><figcaption>{title}weights</figcaption>"
                f"{heat_map(weights, words, words, what='weights', largest=1.0)}</figure></div>"
            )
            lines = [(word, *_numbers(row)) for word, row in zip(words, contexts[:, head], strict=True)]
            body += f"<details open><summary>{title}context vectors</summary>{table(lines)}</details>"
    return page("Attention, mechanism by mechanism", body)


def _numbers(row: Tensor, n_digits: int = 4) -> list[str]:
    """Nothing where a word may not look."""
    return ["" if value == -torch.inf else f"{value:.{n_digits}f}" for value in row.tolist()]
