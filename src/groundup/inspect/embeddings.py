"""Tokens as vectors: which ones the model has put close together, and where they lay before it had read anything.

The one idea: a token's row in the embedding table is all the model knows of it before reading. Rows at a small angle
are tokens it treats alike (Mikolov et al. 2013, "Efficient Estimation of Word Representations", section 4). The picture
is the plane in which the shown rows spread most (principal components: Pearson 1901). Before training the rows are
random; they need not have been kept, since a run's configuration and seed make them again, to the bit.
"""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Group, RenderableType
from torch import Tensor

from groundup.core.config import read_yaml
from groundup.core.errors import GroundupError
from groundup.core.runs import RunFolder
from groundup.inspect.page import Raw, escape, page, table
from groundup.inspect.terminal import terminal_table, visible
from groundup.inspect.token_map import SCRIPT, STYLE, Dot, kind_of, token_maps
from groundup.inspect.tokens import piece_of
from groundup.models import LanguageModel, build_model
from groundup.tokenization.tokenizer import Tokenizer

_MAPPED, _LISTED = (200, 100), 12  # words and parts of words in the picture; words in the table when no text says which


def initial_model(run: str | Path, trained: LanguageModel) -> LanguageModel | None:
    """The model of a run folder as it was before training, made again from its seed; None when `run` is no run folder."""
    config = RunFolder(run).config
    if not config.is_file():
        return None
    settings = read_yaml(config)
    if settings.get("architecture") != trained.config.architecture or not isinstance(settings.get("seed"), int):
        return None
    return build_model(trained.config, settings["seed"])


def nearest_tokens(model: LanguageModel, token_id: int, n_nearest: int = 8) -> list[tuple[int, float]]:
    """The (id, cosine) of the tokens whose embeddings point most nearly where this token's does; itself left out."""
    table_VD = _table(model)
    unit_VD = table_VD / table_VD.norm(dim=1, keepdim=True).clamp_min(1e-12)
    cosine_V = unit_VD @ unit_VD[token_id]
    cosine_V[token_id] = -torch.inf
    top = cosine_V.topk(min(n_nearest, len(cosine_V) - 1))
    return list(zip(top.indices.tolist(), top.values.tolist(), strict=True))


def principal_plane(vectors_ND: Tensor) -> Tensor:
    """[N, 2] coordinates of the vectors in the plane of their two principal components, largest first.

    Each axis points where its largest entry is positive, so the same vectors always give the same picture.
    """
    centred_ND = (vectors_ND - vectors_ND.mean(0)).double()
    _, axes_DD = torch.linalg.eigh(centred_ND.T @ centred_ND)  # eigenvalues ascend
    axes_D2 = axes_DD[:, [-1, -2]]
    largest = axes_D2.gather(0, axes_D2.abs().argmax(0, keepdim=True))
    return (centred_ND @ (axes_D2 * largest.sign())).float()


def words_of(tokenizer: Tokenizer, n_beginning: int, n_inside: int = 0) -> list[int]:
    """The first tokens of the vocabulary that begin a word, and the first that go on with one, of three letters at least.

    Vocabularies begin with what is frequent, so these are what the model has seen most of. Fewer where there are no more;
    where none begins a word (a vocabulary that marks what goes on instead), those inside take their places.
    """
    begin: list[int] = []
    inside: list[int] = []
    for id in range(tokenizer.vocab_size):
        if id not in tokenizer.special_ids:
            piece = piece_of(tokenizer, id)
            if len(piece.strip()) >= 3 and (kind := kind_of(piece)) in ("begins a word", "inside a word"):
                (begin if kind == "begins a word" else inside).append(id)
    return begin[:n_beginning] + inside[: n_inside if begin else n_beginning + n_inside]


def embeddings_terminal(
    model: LanguageModel,
    tokenizer: Tokenizer,
    text: str | None = None,
    n_nearest: int = 8,
    *,
    before: LanguageModel | None = None,
) -> RenderableType:
    """For each token of `text` (or some frequent ones), its nearest neighbours with their cosines, and those `before`."""
    ids, shown = _asked(tokenizer, text), []
    for one, label in ((model, "after training"), (before, "before training, from the run's seed")):
        if one is None:
            continue
        rows = [(_name(tokenizer, id), id, _near(one, tokenizer, id, n_nearest)) for id in ids]
        nearest = terminal_table(("token", "id", "nearest, with the cosine"), rows, numbers=(1,))
        shown += [label, nearest, ""] if before is not None else [nearest, ""]
    return Group(*shown[:-1])


def embeddings_html(
    model: LanguageModel,
    tokenizer: Tokenizer,
    text: str | None = None,
    n_nearest: int = 8,
    *,
    before: LanguageModel | None = None,
) -> str:
    """The same as a page, and a map of the tokens, of their neighbours, and of the frequent words of the vocabulary."""
    listed = _asked(tokenizer, text)
    models = [("After training", model)] + ([("Before training", before)] if before is not None else [])
    rows, labelled = [], dict.fromkeys(listed if text is not None else ())
    for id in listed:
        cells = []
        for _, one in models:
            near = nearest_tokens(one, id, n_nearest)
            if one is model and text is not None:
                labelled.update(dict.fromkeys(other for other, _ in near))
            cells.append(
                Raw(" ".join(f"<code>{escape(_name(tokenizer, other))}</code> {cosine:.2f}" for other, cosine in near))
            )
        rows.append((Raw(f"<code>{escape(_name(tokenizer, id))}</code>"), id, *cells))
    dots = [
        Dot(id, _name(tokenizer, id), kind_of(piece_of(tokenizer, id)), id in labelled)
        for id in dict.fromkeys([*labelled, *words_of(tokenizer, *_MAPPED)])
    ]
    planes = [
        (f"{title}: {share:.0%} of the spread", points)
        for title, one in models
        for points, share in [_plane(one, dots)]
    ]
    header = ("token", "id", *(f"nearest {title.lower()}, with the cosine" for title, _ in models))
    note = (
        "The frequent words and endings of the vocabulary in the plane in which they spread most. Point at one for its name."
        + (" The same token is marked in both." if before is not None else "")
    )
    body = (
        f"<style>{STYLE}</style><h1>Embeddings</h1><p class='soft'>{escape(_where(tokenizer, before))}</p>"
        f"<h2>In the plane</h2><p class='soft'>{note}</p>{token_maps(dots, planes[::-1])}"
        f"<h2>Nearest neighbours</h2>{table(rows, header)}"
    )
    return page("Embeddings", body, SCRIPT)


def _where(tokenizer: Tokenizer, before: LanguageModel | None) -> str:
    what = f"{tokenizer.vocab_size:,} tokens, each a row of the embedding table."
    if before is None:
        return f"{what} As trained; a model folder alone does not tell how it began, a run folder does."
    return f"{what} Before training the rows are random numbers, made again from the run's seed."


def _plane(model: LanguageModel, dots: list[Dot]) -> tuple[Tensor, float]:
    """The points of the dots, and how much of their rows' variance the plane holds."""
    vectors_ND = _table(model)[[dot.id for dot in dots]]
    points_N2 = principal_plane(vectors_ND)
    return points_N2, (points_N2.var(0).sum() / vectors_ND.var(0).sum().clamp_min(1e-30)).item()


def _near(model: LanguageModel, tokenizer: Tokenizer, id: int, n_nearest: int) -> str:
    return "  ".join(
        f"{_name(tokenizer, other)} {cosine:.2f}" for other, cosine in nearest_tokens(model, id, n_nearest)
    )


def _table(model: LanguageModel) -> Tensor:
    return model.token_embedding.weight.detach().float().cpu()


def _asked(tokenizer: Tokenizer, text: str | None) -> list[int]:
    """The tokens of the text, each once; without a text the frequent words."""
    ids = words_of(tokenizer, _LISTED) if text is None else list(dict.fromkeys(tokenizer.encode(text)))
    if not ids:
        if text is None:
            raise GroundupError(
                "this vocabulary has no words of three letters; give some text to look for neighbours of"
            )
        raise GroundupError("the text has no tokens; give a word or two to look for neighbours of")
    return ids


def _name(tokenizer: Tokenizer, id: int) -> str:
    return visible(piece_of(tokenizer, id))
