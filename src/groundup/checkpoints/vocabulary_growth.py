"""Rows for new tokens in a trained model: each begins as the mean of the rows of the old tokens it stands for.

So the model begins by reading a new token as something between its old pieces, in the scale of rows it knows; rows drawn at
random would get nearly all of the probability or none of it (Hewitt 2021, "Initializing new word embeddings for pretrained
language models"). Every old row, and so the logit of every old token, stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from groundup.core.errors import GroundupError
from groundup.models import LanguageModel, architecture


@torch.no_grad()
def grown(model: LanguageModel, first_id: int, old_pieces: Sequence[Sequence[int]]) -> LanguageModel:
    """A model with a row for each of the ids from `first_id` on, the mean of the rows of its `old_pieces`.

    Embedding and head (where it is not tied) are treated alike. A model with rows to spare beyond the tokenizer's ids has
    those overwritten. The given model shares its other weights with the new one.
    """
    config = model.config
    if first_id > config.vocab_size:
        raise GroundupError(f"the first new id {first_id} leaves a gap behind the model's {config.vocab_size} ids")
    vocab_size = max(config.vocab_size, first_id + len(old_pieces))
    with torch.device("meta"):
        larger: LanguageModel = architecture(config.architecture).Model(
            config.model_copy(update={"vocab_size": vocab_size})
        )
    weights: dict[str, Tensor] = dict(model.named_parameters())
    for name in ("token_embedding.weight", *(("head.weight",) if model.head is not None else ())):
        weights[name] = _with_rows(weights[name], first_id, old_pieces, vocab_size)
    larger.load_state_dict(weights, assign=True)
    return larger.set_dtype(model.token_embedding.weight.dtype).eval()


def _with_rows(table_VD: Tensor, first_id: int, old_pieces: Sequence[Sequence[int]], vocab_size: int) -> Tensor:
    result = table_VD.new_zeros(vocab_size, table_VD.shape[1])
    result[: len(table_VD)] = table_VD
    for row, pieces in enumerate(old_pieces, first_id):
        result[row] = table_VD[list(pieces)].float().mean(0)
    return result
