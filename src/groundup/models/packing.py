"""A model whose matrices are laid out for the processor: the same numbers, written with up to twice as fast on a CPU.

Only linear maps change (layers/packed.py): the blocks' matrices and the head. A tied head is packed apart from its
embedding, whose rows must stay rows to be looked up, and so its table is there twice.
"""

from __future__ import annotations

from groundup.models.base import LanguageModel
from groundup.models.layers.linear import Linear
from groundup.models.layers.packed import PackedLinear, can_pack


def pack(model: LanguageModel) -> LanguageModel:
    """Pack the linear maps of `model` in place, on the CPU, and gives the model, for inference only from now on.

    Elsewhere, and where torch lacks the operators, it stays as it is: nothing but speed depends on this.
    """
    weight = model.token_embedding.weight
    if weight.device.type == "cpu" and can_pack(weight.dtype):
        for parent in list(model.modules()):
            for name, module in list(parent.named_children()):
                if type(module) is Linear and module.weight.dtype == weight.dtype and name not in model.read_apart:
                    bias = None if module.bias is None else module.bias.detach()
                    setattr(parent, name, PackedLinear(module.weight, bias))
        if model.head is None:
            model.head = PackedLinear(weight)  # pyright: ignore[reportAttributeAccessIssue]
    return model.requires_grad_(False).eval()
