"""Mamba 2: Mamba with one rate a head, so that training is made of matrix products.

All that a token decides (gate, what to write and read, steps) comes out of one matrix; the scan (layers/ssd.py) keeps a
matrix a head; what comes out is gated, then normalised by groups. Source: Dao and Gu 2024, "Transformers are SSMs:
Generalized Models and Efficient Algorithms Through Structured State Space Duality", section 7.

Shapes: B batch, T tokens, D d_model, E d_inner, H heads of P numbers, G groups, N d_state.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.core.errors import GroundupError
from groundup.models import mamba_files
from groundup.models.base import Reading
from groundup.models.layers.convolution import CausalConvolution
from groundup.models.layers.linear import Linear
from groundup.models.layers.norm import GatedRMSNorm, RMSNorm
from groundup.models.layers.ssd import StateSpaceDual
from groundup.models.mamba_network import MambaBlock, MambaConfig, MambaModel, first_step_biases
from groundup.models.sizes import Dial
from groundup.models.weights import ForeignConfig, WeightTable


class Config(MambaConfig):
    """Sizes of a Mamba 2 model."""

    architecture: Literal["mamba2"] = "mamba2"  # pyright: ignore[reportIncompatibleVariableOverride]
    d_state: int = pydantic.Field(128, ge=1, description="numbers a channel remembers")
    d_head: int = pydantic.Field(64, ge=1, description="channels a head works on")
    n_groups: int = pydantic.Field(1, ge=1, description="groups of heads that write and read alike")
    shortest_step: float = pydantic.Field(0.0, ge=0, description="no step is shorter")
    longest_step: float | None = pydantic.Field(None, gt=0, description="no step is longer; None: as long as it likes")

    @pydantic.model_validator(mode="after")
    def _heads_fit(self) -> Config:
        if self.d_inner % self.d_head:
            raise ValueError(
                f"expand {self.expand} x d_model {self.d_model} = {self.d_inner} is not a multiple of d_head "
                f"{self.d_head}; change one of them"
            )
        if self.n_heads % self.n_groups:
            raise ValueError(f"{self.n_heads} heads cannot be shared evenly by n_groups {self.n_groups}")
        return self

    @property
    def n_heads(self) -> int:
        """Heads that fill the inner width."""
        return self.d_inner // self.d_head

    @property
    def d_window(self) -> int:
        return self.d_inner + 2 * self.n_groups * self.d_state

    def memory_shape(self) -> tuple[int, ...]:
        return self.n_heads, self.d_state, self.d_head

    def matrix_parameters(self) -> int:
        return self.n_layers * self.d_model * (2 * self.d_inner + self.d_window + self.n_heads)

    def vector_parameters(self) -> int:
        convolution = self.d_window * (self.d_conv + self.conv_bias)
        scan = 3 * self.n_heads + self.d_inner  # rates, skip, bias of the steps; the gated norm
        biases = self.bias * (self.d_inner + self.d_window + self.n_heads + self.d_model)
        return self.n_layers * (self.d_model + convolution + scan + biases) + self.d_model


class Block(MambaBlock):
    """The mixer of structured state space duality."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__(config, layer)
        self.sizes = (config.d_inner, config.d_window, config.n_heads)
        self.groups = (config.n_groups, config.d_state)
        self.d_head, self.step_limits = config.d_head, (config.shortest_step, config.longest_step)
        self.input = Linear(config.d_model, sum(self.sizes), config.bias)
        self.convolution = CausalConvolution(config.d_window, config.d_conv, config.conv_bias)
        self.step_bias = nn.Parameter(torch.empty(config.n_heads))
        self.rate_log = nn.Parameter(torch.empty(config.n_heads))
        self.skip = nn.Parameter(torch.empty(config.n_heads))
        self.scan = StateSpaceDual()
        self.gated_norm = GatedRMSNorm(config.d_inner, config.n_groups, config.norm_eps)
        self.output = Linear(config.d_inner, config.d_model, config.bias)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Fill what is not a plain matrix, as the authors' code does.

        Rates between -1 and -16, so that heads forget at different speeds; steps between 0.001 and 0.1, evenly in their
        logarithm.
        """
        self.convolution.initialize(generator)
        n_heads = len(self.rate_log)
        self.rate_log.copy_(torch.empty(n_heads).uniform_(1, 16, generator=generator).log())
        self.skip.fill_(1.0)
        self.step_bias.copy_(first_step_biases(n_heads, generator))

    def mix(
        self, x_BTD: Tensor, window: Tensor | None, memory: Tensor | None, reading: Reading
    ) -> tuple[Tensor, Tensor, Tensor]:
        packed = reading.document_ids_BT is not None
        gate_BTE, mixed, step_BTH = self.input(x_BTD).split(self.sizes, dim=-1)
        mixed, new_window = self.convolution(mixed, window, reading.positions_BT if packed else None)
        n_groups, d_state = self.groups
        width = n_groups * d_state
        parts = F.silu(mixed).to(x_BTD.dtype).split((self.sizes[0], width, width), dim=-1)
        x_BTHP = parts[0].unflatten(-1, (-1, self.d_head))
        b_BTGN, c_BTGN = (part.unflatten(-1, (n_groups, d_state)) for part in parts[1:])
        # In fp32: steps are small, and their differences are what counts.
        step_BTH = F.softplus(step_BTH.float() + self.step_bias.float()).clamp(*self.step_limits)
        rate_H = -torch.exp(self.rate_log.float())
        fresh_BT = reading.positions_BT == 0 if packed else None
        y_BTHP, new_memory = self.scan(x_BTHP, step_BTH, rate_H, b_BTGN, c_BTGN, memory, fresh_BT)
        y_BTHP = y_BTHP + x_BTHP.float() * self.skip.float()[:, None]
        return self.output(self.gated_norm(y_BTHP.flatten(2), gate_BTE)), new_window, new_memory


class Model(MambaModel):
    """A Mamba 2 language model; see `LanguageModel` for what it does."""

    def __init__(self, config: Config) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RMSNorm(config.d_model, config.norm_eps))


def derived_sizes(dial: Dial) -> dict[str, Any]:
    """The sizes that follow from depth and width: only the tying, as in sizes.py."""
    return {"tie_embeddings": dial.vocab_size > dial.n_layers * 6 * dial.d_model}


MODEL_TYPES = ("mamba2",)


def weights(config: Config) -> WeightTable:
    """The tensors of its files."""
    rows = {
        "input.weight": "in_proj.weight",
        "convolution.weight": "conv1d.weight",
        "step_bias": "dt_bias",
        "rate_log": "A_log",
        "skip": "D",
        "gated_norm.weight": "norm.weight",
        "output.weight": "out_proj.weight",
    }
    return mamba_files.table(rows, bias=config.bias, conv_bias=config.conv_bias)


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model."""
    longest = math.inf if config.longest_step is None else config.longest_step
    limited = config.shortest_step > 0 or config.longest_step is not None
    return {
        "architectures": ["Mamba2ForCausalLM"],
        "model_type": "mamba2",
        **mamba_files.sizes_to(config),
        "num_heads": config.n_heads,
        "head_dim": config.d_head,
        "n_groups": config.n_groups,
        **({"time_step_limit": [config.shortest_step, longest]} if limited else {}),
    }


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    # A rank of the steps is written, and has no matrix to be the rank of.
    settings = ForeignConfig(values, without_effect=f"{mamba_files.WITHOUT_EFFECT} time_step_rank")
    sizes = mamba_files.sizes_from(settings, d_state=128, tied=False)
    shortest, longest = _step_limits(settings.take("time_step_limit", [0.0, math.inf]))
    more = {
        "d_head": settings.take("head_dim", 64),
        "n_groups": settings.take("n_groups", 8),
        "shortest_step": shortest,
        "longest_step": None if math.isinf(longest) else longest,
    }
    config = Config.build(sizes | more, source="config.json")
    settings.require("num_heads", config.n_heads)
    settings.require("intermediate_size", config.d_inner)
    settings.finish()
    return config


def _step_limits(value: Any) -> tuple[float, float]:
    """Two numbers; infinity is written as JSON has it not, or by transformers 5 as {"__float__": "Infinity"}."""
    try:
        low, high = (float(each["__float__"] if isinstance(each, dict) else each) for each in value)
    except (TypeError, ValueError, KeyError):
        raise GroundupError(f"config.json asks for time_step_limit={value!r}, which is not two numbers") from None
    return low, high
