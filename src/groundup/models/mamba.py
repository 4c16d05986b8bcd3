"""Mamba: a recurrent model whose memory is linear, so that training need not go token by token.

A block widens, mixes the last few tokens (layers/convolution.py), scans with steps, writes and reads chosen by each
token (layers/scan.py), and gates what comes out; there is no feed-forward layer besides. Source: Gu and Dao 2023, "Mamba:
Linear-Time Sequence Modeling with Selective State Spaces", section 3; initialisation from its section 3.6.

Shapes: B batch, T tokens, D d_model, E d_inner, N d_state, R dt_rank.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groundup.models import mamba_files
from groundup.models.base import Reading
from groundup.models.layers.convolution import CausalConvolution
from groundup.models.layers.linear import Linear, linear
from groundup.models.layers.norm import RMSNorm
from groundup.models.layers.scan import SelectiveScan
from groundup.models.mamba_network import MambaBlock, MambaConfig, MambaModel, first_step_biases
from groundup.models.sizes import Dial
from groundup.models.weights import ForeignConfig, WeightTable


class Config(MambaConfig):
    """Sizes of a Mamba model."""

    architecture: Literal["mamba"] = "mamba"  # pyright: ignore[reportIncompatibleVariableOverride]
    d_state: int = pydantic.Field(16, ge=1, description="numbers a channel remembers")
    dt_rank: int = pydantic.Field(ge=1, description="numbers from which a token's steps are made")

    @property
    def d_window(self) -> int:
        return self.d_inner

    def memory_shape(self) -> tuple[int, ...]:
        return self.d_state, self.d_inner

    def matrix_parameters(self) -> int:
        selection = self.d_inner * (self.dt_rank + 2 * self.d_state) + self.dt_rank * self.d_inner
        return self.n_layers * (3 * self.d_model * self.d_inner + selection)

    def vector_parameters(self) -> int:
        convolution = self.d_inner * (self.d_conv + self.conv_bias)
        scan = self.d_inner * (self.d_state + 2)  # rates, skip, bias of the steps
        biases = self.bias * (2 * self.d_inner + self.d_model)
        return self.n_layers * (self.d_model + convolution + scan + biases) + self.d_model


class Block(MambaBlock):
    """The selective state space mixer."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__(config, layer)
        self.sizes = (config.dt_rank, config.d_state, config.d_state)
        self.input = Linear(config.d_model, 2 * config.d_inner, config.bias)
        self.convolution = CausalConvolution(config.d_inner, config.d_conv, config.conv_bias)
        self.selection = Linear(config.d_inner, sum(self.sizes))
        self.step = Linear(config.dt_rank, config.d_inner, bias=True)
        self.rate_log = nn.Parameter(torch.empty(config.d_inner, config.d_state))
        self.skip = nn.Parameter(torch.empty(config.d_inner))
        self.scan = SelectiveScan()
        self.output = Linear(config.d_inner, config.d_model, config.bias)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Fill what is not a plain matrix (section 3.6, and S4D-Real of Gu et al. 2022 for the rates).

        Rates of -1 to -N, so that a channel forgets at several speeds; steps between 0.001 and 0.1, evenly in their
        logarithm, so that channels do.
        """
        self.convolution.initialize(generator)
        n_inner, n_state = self.rate_log.shape
        self.rate_log.copy_(torch.arange(1, n_state + 1).float().log().expand(n_inner, -1))
        self.skip.fill_(1.0)
        assert self.step.bias is not None
        self.step.bias.copy_(first_step_biases(n_inner, generator))

    def mix(
        self, x_BTD: Tensor, window: Tensor | None, memory: Tensor | None, reading: Reading
    ) -> tuple[Tensor, Tensor, Tensor]:
        packed = reading.document_ids_BT is not None
        positions_BT = reading.positions_BT if packed else None
        channels_BTE, gate_BTE = self.input(x_BTD).chunk(2, dim=-1)
        channels_BTE, new_window = self.convolution(channels_BTE, window, positions_BT)
        channels_BTE = F.silu(channels_BTE).to(x_BTD.dtype)
        step_BTR, b_BTN, c_BTN = self.selection(channels_BTE).split(self.sizes, dim=-1)
        assert self.step.bias is not None
        # The bias in fp32: steps are small, and their differences are what counts.
        step_BTE = F.softplus(linear(step_BTR, self.step.weight).float() + self.step.bias.float())
        rate_NE = -torch.exp(self.rate_log.float()).T
        fresh_BT = reading.positions_BT == 0 if packed else None
        y_BTE, new_memory = self.scan(channels_BTE, step_BTE, rate_NE, b_BTN, c_BTN, memory, fresh_BT)
        y_BTE = (y_BTE + channels_BTE.float() * self.skip.float()) * F.silu(gate_BTE.float())
        return self.output(y_BTE.to(x_BTD.dtype)), new_window, new_memory


class Model(MambaModel):
    """A Mamba language model; see `LanguageModel` for what it does."""

    def __init__(self, config: Config) -> None:
        blocks = (Block(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RMSNorm(config.d_model, config.norm_eps))


def derived_sizes(dial: Dial) -> dict[str, Any]:
    """The sizes that follow from depth and width: steps of rank d_model / 16 (section 3.6)."""
    tied = dial.vocab_size > dial.n_layers * 6 * dial.d_model  # as in sizes.py: larger than the blocks
    return {"dt_rank": math.ceil(dial.d_model / 16), "tie_embeddings": tied}


MODEL_TYPES = ("mamba",)


def weights(config: Config) -> WeightTable:
    """The tensors of its files."""
    rows = {
        "input.weight": "in_proj.weight",
        "convolution.weight": "conv1d.weight",
        "selection.weight": "x_proj.weight",
        "step.weight": "dt_proj.weight",
        "step.bias": "dt_proj.bias",
        "rate_log": "A_log",
        "skip": "D",
        "output.weight": "out_proj.weight",
    }
    return mamba_files.table(rows, bias=config.bias, conv_bias=config.conv_bias)


def to_hugging_face(config: Config) -> dict[str, Any]:
    """The `config.json` of this model."""
    return {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        **mamba_files.sizes_to(config),
        "intermediate_size": config.d_inner,
        "time_step_rank": config.dt_rank,
    }


def from_hugging_face(values: dict[str, Any]) -> Config:
    """The configuration in a `config.json`; raises GroundupError naming what it asks for and we do not have."""
    settings = ForeignConfig(values, without_effect=mamba_files.WITHOUT_EFFECT)
    sizes = mamba_files.sizes_from(settings, d_state=16, tied=True)
    rank = settings.take("time_step_rank", "auto")
    sizes["dt_rank"] = math.ceil(sizes["d_model"] / 16) if rank == "auto" else rank
    config = Config.build(sizes, source="config.json")
    settings.require("intermediate_size", config.d_inner)
    settings.require("d_inner", config.d_inner)
    settings.finish()
    return config
