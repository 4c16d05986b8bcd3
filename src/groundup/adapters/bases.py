"""What the frozen base is kept in while an adapter is trained on it, and what all of it weighs.

fp32 is exact, bf16 half of it and no slower where the processor knows it, int8 a quarter, int4 an eighth (QLoRA, Dettmers et
al. 2023). Only the blocks' matrices are in few bits: embedding, head and norms stay in bf16, and the adapter is fp32 on any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from groundup.adapters.layers import LowRank, wide_weight
from groundup.adapters.lora import adapted_layers, count_parameters, switch_of
from groundup.core.errors import GroundupError, unknown_name
from groundup.core.files import readable_bytes
from groundup.models import LanguageModel
from groundup.models.quantize import quantize_int8, quantize_nf4

BasePrecision = Literal["fp32", "bf16", "int8", "int4"]
BASE_PRECISIONS: tuple[str, ...] = get_args(BasePrecision)


def keep_base_in(model: LanguageModel, precision: str) -> LanguageModel:
    """Keep the base's weights in `precision` (of `BASE_PRECISIONS`), in place, whether adapters are on or not; gives it.

    It computes in bf16, or in fp32 if it is kept so. Raises GroundupError for a name or a device that does not do, and
    without bitsandbytes for int4.
    """
    if precision not in BASE_PRECISIONS:
        raise unknown_name("base precision", precision, BASE_PRECISIONS)
    model.compute_dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    for name, parameter in model.named_parameters():
        if ".adapters." not in name:
            parameter.data = parameter.data.to(model.compute_dtype)
    return quantize_base(model, precision) if precision in ("int8", "int4") else model


def quantize_base(model: LanguageModel, precision: str) -> LanguageModel:
    """Put the blocks' matrices into int8 or int4, in place; all else, and what is computed in, stays. Gives the model."""
    if (switch := switch_of(model)) is not None and switch.merged:
        raise GroundupError(f"the adapter {switch.merged!r} is merged into the weights; unmerge it first")
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    training = model.training
    if precision == "int8":
        quantize_int8(model, head=False)
    else:
        quantize_nf4(model)
    for layer in adapted_layers(model):
        for path in layer.adapters.values():
            if isinstance(path, LowRank) and path.squares is not None:
                path.squares = (
                    wide_weight(layer.base).square().sum(1)
                )  # the lengths are those of the numbers it has now
    for parameter in learning:
        parameter.requires_grad_(True)
    return model.train(training)


@dataclass(frozen=True)
class AdapterCost:
    """What is trained and what is held."""

    n_trained: int
    n_parameters: int  # of base and adapter
    base_bytes: int
    trained_bytes: int  # with gradient and the two averages of AdamW, all fp32

    @property
    def file_bytes(self) -> int:
        """About what the adapter's file will take, in fp32."""
        return 4 * self.n_trained

    def line(self) -> str:
        """One line for people."""
        return (
            f"{self.n_trained:,} of {self.n_parameters:,} numbers are trained ({self.n_trained / self.n_parameters:.2%}); "
            f"the frozen take {readable_bytes(self.base_bytes)}, the trained with gradient and optimizer "
            f"{readable_bytes(self.trained_bytes)}, the adapter's file {readable_bytes(self.file_bytes)}"
        )


def adapter_cost(model: LanguageModel) -> AdapterCost:
    """Numbers and bytes of a model with an adapter on it; activations come on top."""
    trained, total = count_parameters(model)
    held = sum(each.numel() * each.element_size() for each in model.parameters() if not each.requires_grad)
    held += sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    return AdapterCost(trained, total, held, 16 * trained)
