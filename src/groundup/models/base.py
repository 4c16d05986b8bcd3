"""What every language model is: a configuration, a trunk that reads tokens, an unembedding that guesses the next one.

`trunk` and `unembed` are apart so that a loss can unembed in chunks, a classifier can use the trunk alone, and
generation can unembed the last position alone. Parameters are fp32 masters; `compute_dtype` says in which precision
the layers compute (see layers/linear.py). Decode state is passed in, never kept (see state.py).

Counts of parameters and arithmetic are formulas of the configuration, so that a planner can weigh a model it has not
built; the contract tests hold them against real tensors and counted operations.

Shapes: B batch, T tokens, S keys, D d_model, V vocab_size, L layers, H heads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import pydantic
import torch
from torch import Tensor, nn

from groundup.core.config import Config
from groundup.core.errors import GroundupError
from groundup.models.layers.attention import Attend, reference_attention
from groundup.models.layers.embedding import Embedding
from groundup.models.layers.linear import Linear, linear
from groundup.models.layers.position import document_positions
from groundup.models.state import DecodeState

Roles = dict[str, list[tuple[str, nn.Parameter]]]


class ModelConfig(Config):
    """The sizes of a model; `sizes.config_for_size` derives them from one dial."""

    architecture: str = pydantic.Field(description="the module in groundup/models that builds the model")
    vocab_size: int = pydantic.Field(ge=1, description="number of token ids")
    context_length: int = pydantic.Field(ge=1, description="most tokens the model reads at once")
    d_model: int = pydantic.Field(ge=1, description="numbers in a token's vector")
    n_layers: int = pydantic.Field(ge=1, description="blocks of attention and feed-forward")
    n_heads: int = pydantic.Field(ge=1, description="attention heads a layer")
    n_kv_heads: int = pydantic.Field(ge=1, description="key-value heads a layer, shared by the heads")
    d_head: int = pydantic.Field(ge=1, description="numbers a head works on")
    d_ff: int = pydantic.Field(ge=1, description="width of the feed-forward layer")
    tie_embeddings: bool = pydantic.Field(description="whether the head reuses the token embedding's weights")
    norm_eps: float = pydantic.Field(gt=0, description="added to the variance before its root is taken")
    bos_id: int | None = pydantic.Field(None, ge=0, description="token id that begins a text")
    eos_ids: tuple[pydantic.NonNegativeInt, ...] = pydantic.Field((), description="token ids that end a text")
    pad_id: int | None = pydantic.Field(None, ge=0, description="token id that fills up rows in other tools")

    @pydantic.model_validator(mode="after")
    def _heads_fit(self) -> ModelConfig:
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}, so key-value heads cannot "
                f"be shared evenly; use one of {[n for n in range(1, self.n_heads + 1) if self.n_heads % n == 0]}"
            )
        return self

    def matrix_parameters(self) -> int:
        """Parameters of the blocks' matrices: what Muon trains, and nearly all of the arithmetic."""
        raise NotImplementedError

    def vector_parameters(self) -> int:
        """Parameters of norms and biases."""
        raise NotImplementedError

    def table_parameters(self) -> int:
        """Parameters of the embedding tables and, when it is not tied, of the head."""
        return self.vocab_size * self.d_model * (1 if self.tie_embeddings else 2)

    def n_parameters(self, embeddings: bool = True) -> int:
        """All parameters; `embeddings=False` leaves out tables and head, as in Kaplan et al. 2020, section 1.3."""
        blocks = self.matrix_parameters() + self.vector_parameters()
        return blocks + (self.table_parameters() if embeddings else 0)

    def flops_per_token(self, context_length: int | None = None) -> int:
        """Operations one token costs in training, forward and backward: `6 N + 12 L H K T`.

        Each of the N weights of the matrices and the head is multiplied and added once forward, twice backward
        (Kaplan et al. 2020, section 2.1). Queries times keys and weights times values take `2 H K T` each a layer,
        times three; counted over the full T x T square as is the custom, though causal attention needs half (PaLM,
        Chowdhery et al. 2022, appendix B).
        """
        length = context_length or self.context_length
        matrices = self.matrix_parameters() + self.vocab_size * self.d_model
        return 6 * matrices + 12 * self.n_layers * self.n_heads * self.d_head * length

    def state_bytes_per_token(self, dtype: torch.dtype = torch.float32) -> int:
        """Bytes of decode state one token of one row takes."""
        return 2 * self.n_layers * self.n_kv_heads * self.d_head * dtype.itemsize


@dataclass(frozen=True)
class Reading:
    """What all layers of one forward pass share: where the tokens stand, what they may see, what was read before."""

    positions_BT: Tensor  # int64, [1, T] when all rows agree
    mask: Tensor | None  # boolean [B or 1, 1, T, S]; None is plain causal order
    state: DecodeState | None


class LanguageModel(nn.Module, ABC):
    """A model of the next token. An architecture gives `trunk`, `initialize` and its layers.

    It names its parts `token_embedding`, `head` (None when tied) and, if it has one, `position_embedding`.
    A model just made has no values in its weights; `build_model` and `load_model` fill them.
    """

    token_embedding: Embedding
    head: Linear | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32

    @abstractmethod
    def initialize(self, seed: int) -> None:
        """Fill all weights; the same seed gives the same weights on every device."""

    @abstractmethod
    def trunk(
        self, tokens_BT: Tensor, state: DecodeState | None = None, document_ids_BT: Tensor | None = None
    ) -> Tensor:
        """The last hidden vectors [B, T, D] of the tokens, final norm applied, in `compute_dtype`.

        With a `state` the tokens continue what each row has read, and the state moves on. With `document_ids_BT` a
        token sees only tokens of its own document, and positions restart there. Raises GroundupError when the
        tokens do not fit the context.
        """

    def unembed(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of hidden vectors [..., D], in their dtype."""
        return linear(hidden, self.head_weight)

    @property
    def head_weight(self) -> Tensor:
        """The matrix [V, D] that turns hidden vectors into logits: the head's, or the embedding's when tied."""
        return self.token_embedding.weight if self.head is None else self.head.weight

    def forward(
        self, tokens_BT: Tensor, state: DecodeState | None = None, document_ids_BT: Tensor | None = None
    ) -> Tensor:
        """Logits [B, T, V] of the token that follows each token."""
        return self.unembed(self.trunk(tokens_BT, state, document_ids_BT))

    def new_state(
        self, batch_size: int, max_length: int | None = None, dtype: torch.dtype | None = None
    ) -> DecodeState:
        """An empty decode state for `batch_size` rows of at most `max_length` tokens (default: the context)."""
        config, max_length = self.config, max_length or self.config.context_length
        if max_length > config.context_length:
            raise GroundupError(
                f"max_length {max_length} exceeds the {config.context_length} positions this model has; "
                f"use at most {config.context_length}"
            )
        place = self.token_embedding.weight.device
        sizes = (config.n_layers, batch_size, config.n_kv_heads, config.d_head, max_length)
        return DecodeState.empty(*sizes, dtype=dtype or self.compute_dtype, device=place)

    def read(self, tokens_BT: Tensor, state: DecodeState | None, document_ids_BT: Tensor | None) -> Reading:
        """Positions and mask of one forward pass, made once for all layers; checks that the tokens fit."""
        n_read, n_new = state.longest if state else 0, tokens_BT.shape[1]
        if n_read + n_new > self.config.context_length:
            raise GroundupError(
                f"{n_read + n_new} tokens exceed the {self.config.context_length} positions this model has; "
                "give fewer tokens, or train a model with a larger context_length"
            )
        if state is not None:
            assert document_ids_BT is None, "decoding reads one document a row"
            state.reserve(n_new)
            return Reading(state.positions(n_new), state.mask(n_new), state)
        order_T = torch.arange(n_new, device=tokens_BT.device)
        if document_ids_BT is None:
            return Reading(order_T[None], None, None)
        same_BTS = document_ids_BT[:, :, None] == document_ids_BT[:, None, :]
        mask = same_BTS & (order_T[:, None] >= order_T)
        return Reading(document_positions(document_ids_BT), mask[:, None], None)

    def set_dtype(self, dtype: torch.dtype) -> LanguageModel:
        """Keep and compute everything in `dtype`: for inference, where no fp32 masters are needed. Gives itself."""
        self.compute_dtype = dtype
        return self.to(dtype)

    def n_parameters(self, embeddings: bool = True) -> int:
        """Parameters counted on the tensors; `embeddings=False` leaves out tables and head."""
        roles = self.parameter_roles()
        counted = roles if embeddings else ("matrices", "vectors")
        return sum(parameter.numel() for role in counted for _, parameter in roles[role])

    def flops_per_token(self, context_length: int | None = None) -> int:
        """Operations one token costs in training; see `ModelConfig.flops_per_token`."""
        return self.config.flops_per_token(context_length)

    def parameter_roles(self) -> Roles:
        """Each parameter once, by how it is trained: matrices, embedding, head (empty when tied), vectors."""
        roles: Roles = {"matrices": [], "embedding": [], "head": [], "vectors": []}
        for name, parameter in self.named_parameters():
            part = name.split(".")[0]
            if part in ("token_embedding", "position_embedding"):
                role = "embedding"
            else:
                role = "head" if part == "head" else "matrices" if parameter.ndim == 2 else "vectors"
            roles[role].append((name, parameter))
        return roles

    @torch.no_grad()
    def attention_weights(self, tokens_BT: Tensor) -> Tensor:
        """What every head looks at: weights [L, B, H, T, S], each row summing to 1; for people to see."""
        seen: list[Tensor] = []

        def look(_module: nn.Module, inputs: tuple[Any, ...], _output: Tensor) -> None:
            q_BHTK, k_BGSK, v_BGSK, mask, *_ = inputs
            seen.append(reference_attention(q_BHTK, k_BGSK, v_BGSK, mask)[1])

        hooks = [module.register_forward_hook(look) for module in self.modules() if isinstance(module, Attend)]
        training = self.training
        try:
            self.eval().trunk(tokens_BT)
        finally:
            self.train(training)
            for hook in hooks:
                hook.remove()
        return torch.stack(seen)
