"""Tokens as vectors: which ones the model has put close together.

The one idea: a token's row in the embedding table is all the model knows of it before reading. Rows at a small angle
are tokens it treats alike (Mikolov et al. 2013, "Efficient Estimation of Word Representations", section 4). The picture
is the plane in which the shown rows spread most (principal components: Pearson 1901).
"""

from __future__ import annotations

import torch
from rich.console import RenderableType
from torch import Tensor

from groundup.core.errors import GroundupError
from groundup.inspect.page import Raw, escape, page, table
from groundup.inspect.plots import scatter_chart
from groundup.inspect.terminal import terminal_table, visible
from groundup.models.base import LanguageModel
from groundup.tokenization.tokenizer import Tokenizer


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


def embeddings_terminal(model: LanguageModel, tokenizer: Tokenizer, text: str, n_nearest: int = 8) -> RenderableType:
    """For each token of `text`, its nearest neighbours with their cosines."""
    rows = []
    for id in _distinct_ids(tokenizer, text):
        near = "  ".join(f"{_name(tokenizer, i)} {cosine:.2f}" for i, cosine in nearest_tokens(model, id, n_nearest))
        rows.append((_name(tokenizer, id), id, near))
    return terminal_table(("token", "id", "nearest, with the cosine"), rows, numbers=(1,))


def embeddings_html(model: LanguageModel, tokenizer: Tokenizer, text: str, n_nearest: int = 8) -> str:
    """The same as a page, and the tokens with their neighbours in the plane of most spread."""
    ids, rows = _distinct_ids(tokenizer, text), []
    shown = dict.fromkeys(ids)
    for id in ids:
        near = nearest_tokens(model, id, n_nearest)
        shown.update(dict.fromkeys(i for i, _ in near))
        cells = " ".join(f"<code>{escape(_name(tokenizer, i))}</code> {cosine:.2f}" for i, cosine in near)
        rows.append((Raw(f"<code>{escape(_name(tokenizer, id))}</code>"), id, Raw(cells)))
    points_N2 = principal_plane(_table(model)[list(shown)])
    names = [_name(tokenizer, id) for id in shown]
    x, y = points_N2.T.tolist()
    chart = scatter_chart(x, y, names, "first principal component", "second principal component")
    body = f"<h1>Embeddings</h1>{table(rows, ('token', 'id', 'nearest, with the cosine'))}<h2>In the plane</h2>{chart}"
    return page("Embeddings", body)


def _table(model: LanguageModel) -> Tensor:
    return model.token_embedding.weight.detach().float().cpu()


def _distinct_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    ids = list(dict.fromkeys(tokenizer.encode(text)))
    if not ids:
        raise GroundupError("the text has no tokens; give a word or two to look for neighbours of")
    return ids


def _name(tokenizer: Tokenizer, id: int) -> str:
    return visible(tokenizer.decode([id], continued=True))
