"""A model whose matrices are read in 8 bits: half the bytes for every token written, at a small loss.

Only linear maps change (layers/int8.py): the blocks' matrices and the head, which a tied model gets apart from its
embedding, since looking up a row costs nothing. Norms, biases, embeddings and everything between stay as they are.
"""

from __future__ import annotations

from groundup.core.errors import GroundupError
from groundup.models.base import LanguageModel
from groundup.models.layers.int8 import Int8Linear, check_kernel, usable
from groundup.models.layers.linear import Linear


def quantize_int8(model: LanguageModel, *, head: bool = True) -> LanguageModel:
    """Turn the linear maps of `model`, on the CPU, into 8-bit ones in place; gives the model, frozen, to be read from.

    `head=False` leaves the head as it is, for training adapters: the loss reads its weight block by block.
    Raises GroundupError on another device, or where nothing of the model can be had in 8 bits.
    """
    if (place := model.token_embedding.weight.device).type != "cpu":
        raise GroundupError(f"8-bit weights are for the CPU, and the model is on {place}; use bf16 there")
    check_kernel()
    n_changed = 0
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if module is model.head and not head:
                continue
            if type(module) is Linear and usable(module):
                bias = None if module.bias is None else module.bias.detach()
                setattr(parent, name, Int8Linear(module.weight, bias))
                n_changed += 1
    if head and model.head is None and model.config.d_model % 16 == 0:
        model.head = Int8Linear(model.token_embedding.weight)  # pyright: ignore[reportAttributeAccessIssue]
    if not n_changed:
        raise GroundupError(
            f"no matrix of this {model.config.architecture} model can be kept in 8 bits (their widths are no multiples "
            "of 16); use bf16 or fp32"
        )
    return model.requires_grad_(False).eval()
