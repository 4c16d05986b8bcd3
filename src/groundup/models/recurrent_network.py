"""What the recurrent architectures (rnn, lstm, gru) share: everything but the cell.

A block is a recurrent layer that reads a normalised copy of the residual stream and writes back through a matrix. The
residual path is what lets deep stacks train (He et al. 2016; for stacked LSTMs, Wu et al. 2016, "Google's Neural Machine
Translation System", section 3.1); the matrix lets each block begin as the identity, like every block here.

No other tool has these models, so their `config.json` is in our own words, with the field's names, and weights are
named as torch's layers name them.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor, nn

from groundup.models.base import LanguageModel, ModelConfig, Reading
from groundup.models.initialization import initialize
from groundup.models.layers.linear import Linear
from groundup.models.layers.norm import RMSNorm
from groundup.models.layers.recurrent import CELLS, Recurrent
from groundup.models.sizes import Dial
from groundup.models.state import RecurrentState
from groundup.models.weights import ForeignConfig, Row, WeightTable, eos_ids, eos_value


class RecurrentConfig(ModelConfig):
    """The sizes of a recurrent model; `context_length` is how far training looks back, not a limit."""

    norm_eps: float = pydantic.Field(1e-6, gt=0, description="added to the mean square before its root is taken")
    d_hidden: int = pydantic.Field(ge=1, description="numbers a layer remembers (of each kind, where there are two)")

    @property
    def max_length(self) -> int | None:
        return None

    def matrix_parameters(self) -> int:
        gates = CELLS[self.architecture].n_gates
        return self.n_layers * self.d_hidden * (gates * (self.d_model + self.d_hidden) + self.d_model)

    def vector_parameters(self) -> int:
        biases = 2 * CELLS[self.architecture].n_gates * self.d_hidden
        return self.n_layers * (self.d_model + biases) + self.d_model

    def state_bytes(self, n_tokens: int, dtype: torch.dtype = torch.float32) -> int:
        return self.n_layers * len(CELLS[self.architecture].memories) * self.d_hidden * dtype.itemsize


class RecurrentBlock(nn.Module):
    """A recurrent layer that reads a normalised copy of the residual stream and adds to it."""

    def __init__(self, config: RecurrentConfig, layer: int) -> None:
        super().__init__()
        self.norm = RMSNorm(config.d_model, config.norm_eps)
        self.cell = Recurrent(config.architecture, layer, config.d_model, config.d_hidden)
        self.output = Linear(config.d_hidden, config.d_model)

    def forward(self, x_BTD: Tensor, reading: Reading) -> Tensor:
        return x_BTD + self.output(self.cell(self.norm(x_BTD), reading))


class RecurrentModel(LanguageModel):
    """A stack of recurrent blocks; see `LanguageModel` for what it does."""

    writing: ClassVar[tuple[str, ...]] = ("output",)
    # Torch's kernels run all steps as one operation, which the compiler would take apart into thousands.
    compiles: ClassVar[bool] = False

    config: RecurrentConfig

    def __init__(self, config: RecurrentConfig) -> None:
        blocks = (RecurrentBlock(config, layer) for layer in range(config.n_layers))
        super().__init__(config, blocks, RMSNorm(config.d_model, config.norm_eps))

    def initialize(self, seed: int) -> None:
        """Fill the weights as in initialization.py, those of the cells as their layer says."""
        initialize(self, seed)
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, Recurrent):
                module.initialize(generator)

    def empty_state(
        self, batch_size: int, max_length: int | None, dtype: torch.dtype, device: torch.device
    ) -> RecurrentState:
        """A memory of nothing."""
        shape = (self.config.n_layers, batch_size, self.config.d_hidden)
        names = CELLS[self.config.architecture].memories
        memory = {name: torch.zeros(shape, dtype=dtype, device=device) for name in names}
        return RecurrentState(memory, [0] * batch_size, max_length)


def recurrent_sizes(dial: Dial) -> dict[str, Any]:
    """What follows from depth and width: a memory as wide as the stream; see sizes.py for the tying."""
    return {"d_hidden": dial.d_model, "tie_embeddings": dial.vocab_size > dial.n_layers * 9 * dial.d_model}


def recurrent_weights(config: RecurrentConfig) -> WeightTable:
    """The tensors of a recurrent model's files, named as torch names them."""
    theirs = f"layers.{{layer}}.{config.architecture}"
    return WeightTable(
        (
            Row("token_embedding.weight", "embedding.weight"),
            Row("blocks.{layer}.norm.weight", "layers.{layer}.norm.weight"),
            Row("blocks.{layer}.cell.input_weight", f"{theirs}.weight_ih_l0"),
            Row("blocks.{layer}.cell.memory_weight", f"{theirs}.weight_hh_l0"),
            Row("blocks.{layer}.cell.input_bias", f"{theirs}.bias_ih_l0"),
            Row("blocks.{layer}.cell.memory_bias", f"{theirs}.bias_hh_l0"),
            Row("blocks.{layer}.output.weight", "layers.{layer}.output.weight"),
            Row("final_norm.weight", "norm.weight"),
        ),
        head=Row("head.weight", "head.weight"),
    )


def recurrent_to(config: RecurrentConfig) -> dict[str, Any]:
    """The `config.json` of a recurrent model."""
    return {
        "model_type": f"groundup_{config.architecture}",
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        "hidden_size": config.d_model,
        "memory_size": config.d_hidden,
        "num_hidden_layers": config.n_layers,
        "tie_word_embeddings": config.tie_embeddings,
        "rms_norm_eps": config.norm_eps,
        "bos_token_id": config.bos_id,
        "eos_token_id": eos_value(config.eos_ids),
        "pad_token_id": config.pad_id,
    }


def recurrent_from(values: dict[str, Any], config: type[RecurrentConfig]) -> Any:
    """The inverse of `recurrent_to`; raises GroundupError naming what is asked for and we do not have."""
    settings = ForeignConfig(values)
    found = config.build(
        {
            "vocab_size": settings.take("vocab_size", ...),
            "context_length": settings.take("max_position_embeddings", ...),
            "d_model": settings.take("hidden_size", ...),
            "d_hidden": settings.take("memory_size", ...),
            "n_layers": settings.take("num_hidden_layers", ...),
            "tie_embeddings": settings.take("tie_word_embeddings", ...),
            "norm_eps": settings.take("rms_norm_eps", ...),
            "bos_id": settings.take("bos_token_id"),
            "eos_ids": eos_ids(settings.take("eos_token_id")),
            "pad_id": settings.take("pad_token_id"),
        },
        source="config.json",
    )
    settings.finish()
    return found
