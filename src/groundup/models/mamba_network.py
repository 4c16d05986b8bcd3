"""What Mamba and Mamba 2 share: everything but the mixer.

A block is one mixer that reads a normalised copy of the residual stream and adds to it. What a row keeps between tokens is
the window of its convolution and the memory of its scan, the latter always in fp32: it is added to at every token, and
would lose the small additions in fewer bits.

Shapes: B batch, T tokens, D d_model, K width of the convolution.
"""

from __future__ import annotations

import math
from typing import ClassVar

import pydantic
import torch
from torch import Tensor, nn

from groundup.models.base import LanguageModel, ModelConfig, Reading
from groundup.models.initialization import initialize
from groundup.models.layers.norm import RMSNorm
from groundup.models.state import RecurrentState

WINDOW, MEMORY = "window", "memory"  # what a row keeps
SHORTEST_STEP, LONGEST_STEP = 1e-3, 1e-1


class MambaConfig(ModelConfig):
    """The sizes both have; `context_length` is how far training looks back, not a limit."""

    norm_eps: float = pydantic.Field(1e-5, gt=0, description="added to the mean square before its root is taken")
    expand: int = pydantic.Field(2, ge=1, description="channels the scan works on, for each number of a token's vector")
    d_state: int = pydantic.Field(ge=1, description="numbers a channel remembers")
    d_conv: int = pydantic.Field(4, ge=1, description="tokens the convolution mixes")
    bias: bool = pydantic.Field(False, description="whether the input and output matrices have biases")
    conv_bias: bool = pydantic.Field(True, description="whether the convolution has a bias")
    residual_in_fp32: bool = pydantic.Field(True, description="whether blocks add up in fp32 whatever they compute in")

    @property
    def d_inner(self) -> int:
        """Channels the scan works on."""
        return self.expand * self.d_model

    @property
    def d_window(self) -> int:
        """Channels the convolution works on."""
        raise NotImplementedError

    @property
    def max_length(self) -> int | None:
        return None

    def memory_shape(self) -> tuple[int, ...]:
        """How the scan keeps `d_inner x d_state` numbers of a row."""
        raise NotImplementedError

    def state_bytes(self, n_tokens: int, dtype: torch.dtype = torch.float32) -> int:
        window = (self.d_conv - 1) * self.d_window * dtype.itemsize
        return self.n_layers * (window + math.prod(self.memory_shape()) * torch.float32.itemsize)


class MambaBlock(nn.Module):
    """A mixer that reads a normalised copy of the residual stream and adds to it, and what rows keep for it."""

    def __init__(self, config: MambaConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.norm = RMSNorm(config.d_model, config.norm_eps)

    def initialize(self, generator: torch.Generator) -> None:
        """Fill what is not a plain matrix."""
        raise NotImplementedError

    def mix(
        self, x_BTD: Tensor, window: Tensor | None, memory: Tensor | None, reading: Reading
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the block adds [B, T, D]; and what the row keeps, given what it kept (None: nothing was read)."""
        raise NotImplementedError

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        state = reading.state if isinstance(reading.state, RecurrentState) else None
        window, memory = (state.tensors[name][self.layer] if state else None for name in (WINDOW, MEMORY))
        out_BTD, window, memory = self.mix(self.norm(x_BTD).to(reading.dtype), window, memory, reading)
        if state is not None:
            state.put(WINDOW, self.layer, window)
            state.put(MEMORY, self.layer, memory)
        return x_BTD + out_BTD


class MambaModel(LanguageModel):
    """A stack of mixers; see `LanguageModel` for what it does."""

    writing: ClassVar[tuple[str, ...]] = ("output",)
    read_apart: ClassVar[tuple[str, ...]] = ("step",)
    unadaptable: ClassVar[dict[str, str]] = {"output": "other tools hand its weight to a kernel, past any adapter"}

    config: MambaConfig

    def embed(self, tokens_BT: Tensor, reading: Reading) -> Tensor:
        hidden_BTD = super().embed(tokens_BT, reading)
        return hidden_BTD.float() if self.config.residual_in_fp32 else hidden_BTD

    def is_matrix(self, name: str, parameter: nn.Parameter) -> bool:
        return parameter.ndim == 2 and not name.endswith("rate_log")

    def initialize(self, seed: int) -> None:
        """Fill the weights as in initialization.py, those of convolution and scan as the blocks say."""
        initialize(self, seed)
        generator = torch.Generator().manual_seed(seed)
        for block in self.blocks:
            assert isinstance(block, MambaBlock)
            block.initialize(generator)

    def empty_state(
        self, batch_size: int, max_length: int | None, dtype: torch.dtype, device: torch.device
    ) -> RecurrentState:
        """No token in the convolutions' windows, nothing remembered."""
        config = self.config
        rows = (config.n_layers, batch_size)
        window = torch.zeros(*rows, config.d_conv - 1, config.d_window, dtype=dtype, device=device)
        memory = torch.zeros(*rows, *config.memory_shape(), dtype=torch.float32, device=device)
        return RecurrentState({WINDOW: window, MEMORY: memory}, [0] * batch_size, max_length)


def first_step_biases(n: int, generator: torch.Generator) -> Tensor:
    """Biases that make steps between the shortest and the longest, evenly in their logarithm: softplus inverted."""
    low, high = math.log(SHORTEST_STEP), math.log(LONGEST_STEP)
    steps = torch.exp(low + (high - low) * torch.rand(n, generator=generator))
    return steps + torch.log(-torch.expm1(-steps))
