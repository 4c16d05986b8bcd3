"""A model whose matrices are read in 8 bits: half the bytes for every token written, at a small loss.

Only linear maps change (layers/int8.py): the blocks' matrices and the head, which a tied model gets apart from its
embedding, since looking up a row costs nothing. Norms, biases, embeddings and everything between stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from groundup.core.errors import GroundupError
from groundup.models.base import LanguageModel
from groundup.models.layers.experts import Experts
from groundup.models.layers.int8 import Int8Linear, check_kernel, usable
from groundup.models.layers.linear import Linear
from groundup.models.layers.nf4 import BLOCK, NF4Linear, load_library


def quantize_int8(model: LanguageModel, *, head: bool = True) -> LanguageModel:
    """Turn the linear maps of `model`, on the CPU, into 8-bit ones in place; gives the model, frozen, to be read from.

    `head=False` leaves the head as it is, for training adapters: the loss reads its weight block by block.
    Raises GroundupError on another device, or where nothing of the model can be had in 8 bits.
    """
    if (place := model.token_embedding.weight.device).type != "cpu":
        raise GroundupError(f"8-bit weights are for the CPU, and the model is on {place}; use bf16 there")
    check_kernel()
    n_changed = _replace(
        model, lambda linear: Int8Linear(linear.weight, _bias(linear)) if usable(linear) else None, head
    )
    if head and model.head is None and model.config.d_model % 16 == 0:
        model.head = Int8Linear(model.token_embedding.weight)  # pyright: ignore[reportAttributeAccessIssue]
    if not n_changed:
        raise GroundupError(
            f"no matrix of this {model.config.architecture} model can be kept in 8 bits (their widths are no multiples "
            "of 16); use bf16 or fp32"
        )
    return model.requires_grad_(False).eval()


def quantize_nf4(model: LanguageModel) -> LanguageModel:
    """Turn the blocks' linear maps into 4-bit ones in place (layers/nf4.py); gives the model, frozen, to train adapters on.

    Raises GroundupError without the library, or where nothing of the model can be had in 4 bits.
    """
    load_library()

    def narrow(linear: Linear) -> NF4Linear | None:
        return None if linear.weight.numel() % BLOCK else NF4Linear(linear.weight, _bias(linear))

    if not _replace(model, narrow, head=False):
        raise GroundupError(
            f"no matrix of this {model.config.architecture} model can be kept in 4 bits; use int8 or bf16"
        )
    return model.requires_grad_(False).eval()


def _replace(model: LanguageModel, narrow: Callable[[Linear], nn.Module | None], head: bool) -> int:
    """Put what `narrow` makes of each linear map in its place; gives how many."""
    n_changed = 0
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if type(module) is not Linear or name in model.read_apart or (module is model.head and not head):
                continue
            if isinstance(parent, Experts):  # its router: a small matrix, and rounding it would send tokens elsewhere
                continue
            if (made := narrow(module)) is not None:
                setattr(parent, name, made)
                n_changed += 1
    return n_changed


def _bias(linear: Linear):
    return None if linear.bias is None else linear.bias.detach()
