"""A classifier: the trunk of any language model, and a matrix that turns the hidden vector of the last token into labels.

The one idea: in a causal model only the last token has read the whole text, so its hidden vector stands for the text
(Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", section 3.2; Raschka 2024, "Build a
Large Language Model", chapter 6). The last token is the last *real* one: where it stands is told by lengths, never by an
id, since padding may have the id of a token that texts hold. The head has no bias and begins at zero, so that an untrained
classifier gives every label the same probability.

Shapes: B rows, T positions, D d_model, C labels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from groundup.core.errors import GroundupError
from groundup.models.base import LanguageModel, Roles
from groundup.models.layers.linear import Linear

Parts = Literal["head", "last-block", "all"]


class Classifier(nn.Module):
    """A language model's trunk with a head of labels; it takes the language model over, whose own head is dropped."""

    def __init__(self, language_model: LanguageModel, labels: tuple[str, ...]) -> None:
        super().__init__()
        check_labels(labels)
        self.labels = labels
        self.language_model = language_model
        language_model.head = None  # it guesses tokens; nothing here would use it, and files of classifiers have none
        self.score = Linear(language_model.config.d_model, len(labels))
        place = language_model.token_embedding.weight
        self.score.to(place.device, place.dtype)
        nn.init.zeros_(self.score.weight)

    @property
    def compute_dtype(self) -> torch.dtype:
        """What the layers compute in; parameters are as they are."""
        return self.language_model.compute_dtype

    @compute_dtype.setter
    def compute_dtype(self, dtype: torch.dtype) -> None:
        self.language_model.compute_dtype = dtype

    def forward(self, tokens_BT: Tensor, lengths_B: Tensor, begins_B: Tensor | None = None) -> Tensor:
        """The logits [B, C], fp32. Row b is the `lengths_B[b]` tokens from `begins_B[b]` (None: from 0) on; the rest is padding.

        What the padding holds changes nothing, on either side.
        """
        documents_BT, ends_B = None, lengths_B
        if begins_B is not None:
            # Padding before a text is another document: the text does not see it, and its positions begin at zero.
            documents_BT = (torch.arange(tokens_BT.shape[1], device=tokens_BT.device) >= begins_B[:, None]).long()
            ends_B = begins_B + lengths_B
        hidden_BTD = self.language_model.trunk(tokens_BT, document_ids_BT=documents_BT)
        rows_B = torch.arange(len(tokens_BT), device=tokens_BT.device)
        return self.score(hidden_BTD[rows_B, ends_B - 1]).float()

    def n_parameters(self) -> int:
        """Parameters counted on the tensors."""
        return sum(parameter.numel() for parameter in self.parameters())

    def parameter_roles(self) -> Roles:
        """Each parameter once, by how it is trained; those of the trunk as it sorts them."""
        roles: Roles = {
            role: [(f"language_model.{name}", parameter) for name, parameter in named]
            for role, named in self.language_model.parameter_roles().items()
        }
        roles["head"] = list(self.score.named_parameters("score"))
        return roles

    def set_dtype(self, dtype: torch.dtype) -> Classifier:
        """Keep and compute everything in `dtype`. Gives itself."""
        self.language_model.set_dtype(dtype)
        self.score.to(dtype)
        return self


def train_only(model: Classifier, parts: Parts) -> None:
    """Freeze all but the head, the head with the last block and the final norm (Raschka 2024, section 6.5), or nothing."""
    language_model = model.language_model
    trained: dict[Parts, list[nn.Module]] = {
        "head": [model.score],
        "last-block": [model.score, language_model.blocks[-1], language_model.final_norm],
        "all": [model],
    }
    model.requires_grad_(False)
    for module in trained[parts]:
        module.requires_grad_(True)


def check_labels(labels: tuple[str, ...]) -> None:
    """Refuse labels that cannot be told apart, or that leave nothing to tell."""
    if len(labels) < 2:
        found = f"the only label is {labels[0]!r}" if labels else "there is no label"
        raise GroundupError(f"{found}; a classifier needs at least two to choose from")
    if len(set(labels)) < len(labels) or "" in labels:
        raise GroundupError(f"labels must be different and not empty; found {list(labels)}")
