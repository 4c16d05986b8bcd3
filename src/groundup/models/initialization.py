"""How a new model begins: as little more than its embedding, so that it learns fast from there.

- Matrices that read the residual stream: standard deviation 1/sqrt(n_in), which keeps the scale of what passes through
  them (LeCun et al. 1998, "Efficient BackProp", section 4.6).
- What writes into it (`LanguageModel.writing`: attention output, feed-forward down): zero. Every block begins
  as the identity, so depth does not disturb the first steps (Zhang et al. 2019, "Fixup"; Yang et al. 2022, "Tensor
  Programs V", appendix D.2; both modded-nanogpt and nanochat found it faster).
- Untied: embedding rows of standard deviation 1, the scale that blocks will write at; a head so small (0.001, as in
  nanochat) that all tokens begin equally likely and the loss at ln V.
- Tied: embedding rows of length 1 and a final norm of gain 1/sqrt(d_model), so that the first logits are the cosines of
  a token's row with all rows. A larger scale would make each token predict itself.
- Norms one, biases zero. Where a norm stands between a block's output and the residual stream, it is the norm that
  begins at zero (Goyal et al. 2017, section 5.1): behind a matrix of zeros it would blow the first small step up to
  full size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from groundup.models.layers.linear import fill_normal
from groundup.models.layers.norm import set_gain

if TYPE_CHECKING:
    from groundup.models.base import LanguageModel


def initialize(model: LanguageModel, seed: int) -> None:
    """Fill all weights of `model`, numbers drawn on the CPU."""
    generator, config = torch.Generator().manual_seed(seed), model.config
    written = tuple(f"blocks.{i}.{part}" for i in range(config.n_layers) for part in model.writing)
    for role, parameters in model.parameter_roles().items():
        for name, parameter in parameters:
            if role == "matrices" and not name.startswith(written):
                fill_normal(parameter, parameter.shape[-1] ** -0.5, generator)
            elif role == "embedding":
                fill_normal(parameter, config.d_model**-0.5 if config.tie_embeddings else 1.0, generator)
            elif role == "head":
                fill_normal(parameter, 0.001, generator)
            else:
                nn.init.zeros_(parameter)
    for name, module in model.named_modules():
        set_gain(module, 0.0 if name.startswith(written) else 1.0)
    if config.tie_embeddings:
        set_gain(model.final_norm, config.d_model**-0.5)
