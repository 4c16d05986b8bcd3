"""Where each tensor of a Hugging Face file lies in a GGUF file, and how its numbers differ there.

Names are those of the `gguf` library's own table. The differences are what llama.cpp's converter does to a family's
tensors (convert_hf_to_gguf.py, modify_tensors), told once, as an order of rows, a shape or an offset, and used both
ways: `Place` says it, `read` and `write` follow it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from groundup.checkpoints.gguf_header import library
from groundup.checkpoints.gguf_settings import Family
from groundup.core.errors import GroundupError

_EXPERT = re.compile(r"\.experts\.(\d+)\.")
_QUERY_KEY = re.compile(r"\.self_attn\.(q|k)_proj\.(weight|bias)$")


@dataclass(frozen=True)
class Place:
    """A tensor's place: its `name` there; with `expert`, that part of a stack. Row i here is row `rows[i]` there."""

    name: str
    expert: int | None = None
    rows: Tensor | None = None
    transposed: bool = False
    plus_one: bool = False
    negative_exponential: bool = False


class TensorMap:
    """The places of all tensors of one model; `values` is what its `config.json` says."""

    def __init__(self, family: Family, values: dict[str, Any]) -> None:
        self._family, self._values = family, values

    @cached_property
    def _names(self) -> Any:
        gguf = library()
        [architecture] = [key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == self._family.name]
        return gguf.get_tensor_name_map(
            architecture, self._values.get("num_hidden_layers", self._values.get("n_layer"))
        )

    def place(self, name: str) -> Place:
        """The place of a tensor by its Hugging Face name; raises GroundupError when GGUF has none for it."""
        family, values = self._family, self._values
        found = _EXPERT.search(name)
        known = _EXPERT.sub(".experts.", name).replace("mixer.dt_bias", "mixer.dt_proj.bias")
        theirs = self._names.get_name(known, try_suffixes=(".weight", ".bias"))
        if theirs is None:
            raise GroundupError(
                f"a {family.name} model in a GGUF file has no place for tensor {name}; it cannot be one"
            )
        rows = None
        if family.pairs_apart and (match := _QUERY_KEY.search(name)):
            n_heads = values["num_attention_heads"]
            n_heads = n_heads if match[1] == "q" else values.get("num_key_value_heads", n_heads)
            width = values.get("head_dim") or values["hidden_size"] // values["num_attention_heads"]
            rows = _halves_to_pairs(n_heads, width)
        elif family.name == "gptneox" and ".query_key_value." in name:
            rows = _parts_together(values["num_attention_heads"], values["hidden_size"])
        return Place(
            theirs,
            expert=int(found[1]) if found else None,
            rows=rows,
            transposed=family.name == "gpt2" and re.search(r"\.(c_attn|c_proj|c_fc)\.weight$", name) is not None,
            plus_one=family.norm_plus_one and name.endswith("norm.weight"),
            negative_exponential=name.endswith(".A_log"),
        )


def to_gguf(tensor: Tensor, place: Place) -> Tensor:
    """A tensor of a Hugging Face file as GGUF keeps it (one expert of a stack by itself)."""
    if place.rows is not None:
        tensor = tensor[torch.argsort(place.rows)]
    if place.transposed:
        tensor = tensor.mT
    if place.plus_one:
        tensor = tensor + 1
    if place.negative_exponential:
        tensor = -torch.exp(tensor)
    return tensor.contiguous()


def from_gguf(tensor: Tensor, place: Place) -> Tensor:
    """What `to_gguf` did to the numbers, undone (orders and shapes are the reader's matter)."""
    if place.plus_one:
        tensor = tensor - 1
    if place.negative_exponential:
        tensor = torch.log(-tensor)
    return tensor


def gguf_shape(shape: tuple[int, ...], name: str, family: Family, values: dict[str, Any]) -> tuple[int, ...]:
    """The shape GGUF gives a tensor of `shape` (its Hugging Face one), by its name there."""
    if name.endswith("ssm_conv1d.weight"):
        return (shape[0], shape[-1])
    if family.name == "mamba2":
        if name.endswith((".ssm_a", ".ssm_d")):
            return (*shape, 1)
        if name.endswith("ssm_norm.weight"):
            return (values["n_groups"], shape[0] // values["n_groups"])
    return shape


def _halves_to_pairs(n_heads: int, width: int) -> Tensor:
    """Which row there a row here is, for heads whose halves are woven into pairs there."""
    here = torch.arange(n_heads * width).view(n_heads, width // 2, 2)  # [head, pair, half] numbers there
    return here.transpose(1, 2).reshape(-1)


def _parts_together(n_heads: int, d_model: int) -> Tensor:
    """Which row there a row here is: here each head has its query, key and value, there all queries come first."""
    there = torch.arange(3 * d_model).view(3, n_heads, d_model // n_heads)
    return there.transpose(0, 1).reshape(-1)
