"""What every language model is: a configuration, a trunk that reads tokens, an unembedding that guesses the next one.

`trunk` and `unembed` are apart so that a loss can unembed in chunks, a classifier can use the trunk alone, and
generation can unembed the last position alone. Parameters are fp32 masters; `compute_dtype` says in which precision
the layers compute (see layers/linear.py). Decode state is passed in, never kept (see state.py).

Counts of parameters and arithmetic are formulas of the configuration, so that a planner can weigh a model it has not
built; the contract tests hold them against real tensors and counted operations.

Shapes: B batch, T tokens, S keys, D d_model, V vocab_size, L layers, H heads.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor, nn

from groundup.core.config import Config
from groundup.core.errors import GroundupError
from groundup.models.initialization import initialize
from groundup.models.layers.attention import Attend
from groundup.models.layers.embedding import Embedding
from groundup.models.layers.linear import Linear, linear
from groundup.models.layers.position import Angles, Rotary, document_positions
from groundup.models.layers.softcap import soft_capped
from groundup.models.state import DecodeState, KeyValueState

Roles = dict[str, list[tuple[str, nn.Parameter]]]


class ModelConfig(Config):
    """The sizes of a model; `sizes.config_for_size` derives them from one dial."""

    architecture: str = pydantic.Field(description="the module in groundup/models that builds the model")
    vocab_size: int = pydantic.Field(ge=1, description="number of token ids")
    context_length: int = pydantic.Field(ge=1, description="most tokens the model reads at once")
    d_model: int = pydantic.Field(ge=1, description="numbers in a token's vector")
    n_layers: int = pydantic.Field(ge=1, description="blocks, one upon the other")
    tie_embeddings: bool = pydantic.Field(description="whether the head reuses the token embedding's weights")
    norm_eps: float = pydantic.Field(gt=0, description="added to the variance before its root is taken")
    bos_id: int | None = pydantic.Field(None, ge=0, description="token id that begins a text")
    eos_ids: tuple[pydantic.NonNegativeInt, ...] = pydantic.Field((), description="token ids that end a text")
    pad_id: int | None = pydantic.Field(None, ge=0, description="token id that fills up rows in other tools")

    @property
    def max_length(self) -> int | None:
        """Most tokens the model can read of one text; None when there is no limit (recurrent models)."""
        return self.context_length

    def matrix_parameters(self) -> int:
        """Parameters of the blocks' matrices: what Muon trains, and nearly all of the arithmetic."""
        raise NotImplementedError

    def vector_parameters(self) -> int:
        """Parameters of norms, biases and other small things."""
        raise NotImplementedError

    def table_parameters(self) -> int:
        """Parameters of the embedding tables and, when it is not tied, of the head."""
        return self.vocab_size * self.d_model * (1 if self.tie_embeddings else 2)

    def n_parameters(self, embeddings: bool = True) -> int:
        """All parameters; `embeddings=False` leaves out tables and head, as in Kaplan et al. 2020, section 1.3."""
        blocks = self.matrix_parameters() + self.vector_parameters()
        return blocks + (self.table_parameters() if embeddings else 0)

    def active_matrix_parameters(self) -> int:
        """Parameters of the matrices one token is multiplied with; fewer than all where experts share the work."""
        return self.matrix_parameters()

    def mixing_flops_per_token(self, context_length: int) -> int:
        """Operations of matrix products between tokens, forward and backward: attention's; 0 where there are none."""
        return 0

    def flops_per_token(self, context_length: int | None = None) -> int:
        """Operations one token costs in training, forward and backward: `6 N`, and what tokens do with each other.

        Each of the N weights of the matrices and the head is multiplied and added once forward, twice backward
        (Kaplan et al. 2020, section 2.1). Element by element work is left out, as is the custom.
        """
        matrices = self.active_matrix_parameters() + self.vocab_size * self.d_model
        return 6 * matrices + self.mixing_flops_per_token(context_length or self.context_length)

    def state_bytes(self, n_tokens: int, dtype: torch.dtype = torch.float32) -> int:
        """Bytes of decode state one row takes that has read `n_tokens`."""
        raise NotImplementedError


class AttentionConfig(ModelConfig):
    """The sizes of a model of attention and feed-forward layers."""

    n_heads: int = pydantic.Field(ge=1, description="attention heads a layer")
    n_kv_heads: int = pydantic.Field(ge=1, description="key-value heads a layer, shared by the heads")
    d_head: int = pydantic.Field(ge=1, description="numbers a head works on")
    d_ff: int = pydantic.Field(ge=1, description="width of the feed-forward layer")

    @pydantic.model_validator(mode="after")
    def _heads_fit(self) -> AttentionConfig:
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}, so key-value heads cannot "
                f"be shared evenly; use one of {[n for n in range(1, self.n_heads + 1) if self.n_heads % n == 0]}"
            )
        return self

    def check_heads_fill_the_width(self) -> None:
        """For architectures whose heads are not shared and together as wide as the model; raises `ValueError` for others."""
        if self.n_kv_heads != self.n_heads:
            raise ValueError(
                f"n_kv_heads {self.n_kv_heads} must equal n_heads {self.n_heads}: {self.architecture} does not share heads"
            )
        if self.n_heads * self.d_head != self.d_model:
            raise ValueError(
                f"n_heads {self.n_heads} x d_head {self.d_head} = {self.n_heads * self.d_head} must equal "
                f"d_model {self.d_model} in {self.architecture}"
            )

    def attention_parameters(self) -> int:
        """Parameters of one layer's query, key, value and output matrices."""
        return 2 * self.d_model * self.d_head * (self.n_heads + self.n_kv_heads)

    def mixing_flops_per_token(self, context_length: int) -> int:
        """Queries times keys and weights times values, `12 L H K T`: each takes `2 H K T` a layer, times three.

        Counted over the full T x T square as is the custom, though causal attention needs half (PaLM, Chowdhery et
        al. 2022, appendix B).
        """
        return 12 * self.n_layers * self.n_heads * self.d_head * context_length

    def state_bytes(self, n_tokens: int, dtype: torch.dtype = torch.float32) -> int:
        return 2 * self.n_layers * self.n_kv_heads * self.d_head * dtype.itemsize * n_tokens


class Reading:
    """What all layers of one forward pass share: where the tokens stand, what they may see, what was read before."""

    def __init__(
        self,
        positions_BT: Tensor,
        mask: Tensor | None = None,
        state: DecodeState | None = None,
        document_ids_BT: Tensor | None = None,
        angles: tuple[Angles, ...] = (),
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dtype = dtype  # what the layers compute in, whatever the residual stream is kept in
        self.positions_BT = positions_BT  # int64, [1, T] when all rows agree; they restart with each document
        self.mask = mask  # boolean [B or 1, 1, T, S]; None is plain causal order
        self.state = state
        self.document_ids_BT = document_ids_BT  # None when each row is one document
        self.angles = angles  # of the model's `rotaries`, at these positions
        self.penalties: list[Tensor] = []  # what layers ask a training to make small besides its loss, fp32 numbers
        self._windows: dict[tuple[int, int], Tensor | None] = {}

    def keys_and_values(self, layer: int, k_BGTK: Tensor, v_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values a layer may look at: those of these tokens behind those read before."""
        if self.state is None:
            return k_BGTK, v_BGTK
        assert isinstance(self.state, KeyValueState)
        return self.state.append(layer, k_BGTK, v_BGTK)

    def mask_within(self, window: int | None, sink_tokens: int = 0) -> Tensor | None:
        """The mask with only the newest `window` tokens in sight, a token itself among them; all of them when None.

        The first `sink_tokens` of each document stay in sight too.
        """
        if window is None:
            return self.mask
        if (window, sink_tokens) not in self._windows:
            self._windows[window, sink_tokens] = self._windowed(window, sink_tokens)
        return self._windows[window, sink_tokens]

    def distances(self) -> Tensor:
        """How many tokens back each key lies from each token, int64 [B or 1, T, S]; below zero ahead of it."""
        keys_S = torch.arange(self._n_read + self.positions_BT.shape[1], device=self.positions_BT.device)
        # Places in the row, which are positions only where no document ended before.
        places_BT = keys_S[None] if self.state is None else self.positions_BT
        return places_BT[:, :, None] - keys_S

    @property
    def _n_read(self) -> int:
        return self.state.longest if self.state else 0

    def _windowed(self, window: int, sink_tokens: int) -> Tensor | None:
        if self._n_read + self.positions_BT.shape[1] <= window:
            return self.mask
        back = self.distances()[:, None]
        near = back < window
        if sink_tokens and self.state is not None:
            near = near | (torch.arange(back.shape[-1], device=back.device) < sink_tokens)
        elif sink_tokens:
            near = near | (self.positions_BT[:, None, None] < sink_tokens)
        return near & (self.mask if self.mask is not None else back >= 0)


class LanguageModel(nn.Module, ABC):
    """A model of the next token: token embedding, blocks, final norm, head.

    An architecture makes `blocks`, each called as `block(hidden_BTD, reading)`, and `final_norm`; one that needs more
    overrides `embed`, `initialize` or `trunk`. It may have a `position_embedding`, and `rotaries` to turn by.
    A model just made has no values in its weights; `build_model` and `load_model` fill them.
    """

    # What writes into the residual stream, matrices or the norms behind them, as names within a block; these begin at
    # zero, see initialization.py.
    writing: ClassVar[tuple[str, ...]] = ("attention.output", "feed_forward.down")
    # How fast embeddings may learn, as a share of the default architecture's rate; see pretraining/recipe.py.
    embedding_pace: ClassVar[float] = 1.0

    # Linear maps that no adapter goes on, by the end of their names, and why.
    unadaptable: ClassVar[dict[str, str]] = {}
    # Linear maps whose weight the model reads by itself: nothing can stand in their place, by the end of their names.
    read_apart: ClassVar[tuple[str, ...]] = ()

    # Whether torch.compile can take the model as a whole, and gains by it.
    compiles: ClassVar[bool] = True

    token_embedding: Embedding
    blocks: nn.ModuleList
    final_norm: nn.Module
    head: Linear | None

    def __init__(self, config: ModelConfig, blocks: Iterable[nn.Module], final_norm: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        self.rotaries: tuple[Rotary, ...] = ()
        self.logit_softcap: float | None = None  # what no logit passes, see softcap.py; every loss must ask for it
        self.token_embedding = Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = final_norm
        self.head = None if config.tie_embeddings else Linear(config.d_model, config.vocab_size)

    def initialize(self, seed: int) -> None:
        """Fill all weights; the same seed gives the same weights on every device. See initialization.py."""
        initialize(self, seed)

    def trunk(
        self, tokens_BT: Tensor, state: DecodeState | None = None, document_ids_BT: Tensor | None = None
    ) -> Tensor:
        """The last hidden vectors [B, T, D] of the tokens, final norm applied, in `compute_dtype`.

        With a `state` the tokens continue what each row has read, and the state moves on. With `document_ids_BT` a
        token sees only tokens of its own document, and positions restart there. Raises GroundupError when the
        tokens do not fit the context.
        """
        return self.trunk_and_penalty(tokens_BT, state, document_ids_BT)[0]

    def trunk_and_penalty(
        self, tokens_BT: Tensor, state: DecodeState | None = None, document_ids_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """As `trunk`, and what a training is to make small beside the mean loss of its targets: the layers' mean.

        None for models that ask for nothing, and outside of training mode.
        """
        reading = self.read(tokens_BT, state, document_ids_BT)
        hidden_BTD = self.embed(tokens_BT, reading)
        for block in self.blocks:
            hidden_BTD = block(hidden_BTD, reading)
        if state is not None:
            state.advance(tokens_BT.shape[1])
        penalty = torch.stack(reading.penalties).mean() if reading.penalties else None
        return self.final_norm(hidden_BTD).to(self.compute_dtype), penalty

    def embed(self, tokens_BT: Tensor, reading: Reading) -> Tensor:
        """What goes into the first block, [B, T, D] in `compute_dtype`."""
        return self.token_embedding(tokens_BT).to(self.compute_dtype)

    def unembed(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of hidden vectors [..., D], in their dtype."""
        logits = linear(hidden, self.token_embedding.weight) if self.head is None else self.head(hidden)
        return logits if self.logit_softcap is None else soft_capped(logits, self.logit_softcap)

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
        """An empty decode state for `batch_size` rows of at most `max_length` tokens (default: the most there can be)."""
        limit = self.config.max_length
        if max_length is not None and limit is not None and max_length > limit:
            raise GroundupError(
                f"max_length {max_length} exceeds the {limit} positions this model has; use at most {limit}"
            )
        place = self.token_embedding.weight.device
        return self.empty_state(batch_size, max_length or limit, dtype or self.compute_dtype, place)

    def empty_state(
        self, batch_size: int, max_length: int | None, dtype: torch.dtype, device: torch.device
    ) -> DecodeState:
        """The decode state of rows that have read nothing: keys and values, unless an architecture says otherwise."""
        config = self.config
        assert isinstance(config, AttentionConfig) and max_length is not None
        sizes = (config.n_layers, batch_size, config.n_kv_heads, config.d_head, max_length)
        return KeyValueState.empty(*sizes, dtype=dtype, device=device)

    def read(self, tokens_BT: Tensor, state: DecodeState | None, document_ids_BT: Tensor | None) -> Reading:
        """Positions and mask of one forward pass, made once for all layers; checks that the tokens fit."""
        n_read, n_new = state.longest if state else 0, tokens_BT.shape[1]
        limit = self.config.max_length
        if limit is not None and n_read + n_new > limit:
            raise GroundupError(
                f"{n_read + n_new} tokens exceed the {limit} positions this model has; "
                "give fewer tokens, or train a model with a larger context_length"
            )
        mask = None
        if state is not None:
            assert document_ids_BT is None, "decoding reads one document a row"
            state.reserve(n_new)
            positions_BT = state.positions(n_new)
            mask = state.mask(n_new) if isinstance(state, KeyValueState) else None
        elif document_ids_BT is None:
            positions_BT = torch.arange(n_new, device=tokens_BT.device)[None]
        else:
            positions_BT = document_positions(document_ids_BT)
            if isinstance(self.config, AttentionConfig):
                order_T = torch.arange(n_new, device=tokens_BT.device)
                same_BTS = document_ids_BT[:, :, None] == document_ids_BT[:, None, :]
                mask = (same_BTS & (order_T[:, None] >= order_T))[:, None]
        angles = tuple(rotary.angles(positions_BT) for rotary in self.rotaries)
        return Reading(positions_BT, mask, state, document_ids_BT, angles, self.compute_dtype)

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
                role = "head" if part == "head" else "matrices" if self.is_matrix(name, parameter) else "vectors"
            roles[role].append((name, parameter))
        return roles

    def is_matrix(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether a block's parameter is a matrix (or a stack of them) that maps vectors to vectors."""
        return parameter.ndim >= 2

    @torch.no_grad()
    def attention_weights(self, tokens_BT: Tensor) -> Tensor:
        """What every head looks at: weights [L, B, H, T, S], each row summing to 1; for people to see.

        Raises GroundupError for a model without attention.
        """
        seen: list[Tensor] = []

        def look(module: nn.Module, inputs: tuple[Any, ...], _output: Tensor) -> None:
            assert isinstance(module, Attend)
            q_BHTK, k_BGSK, v_BGSK, mask, *_ = inputs
            seen.append(module.reference(q_BHTK, k_BGSK, v_BGSK, mask)[1])

        hooks = [module.register_forward_hook(look) for module in self.modules() if isinstance(module, Attend)]
        if not hooks:
            raise GroundupError(f"a {self.config.architecture} model has no attention to look at")
        training = self.training
        try:
            self.eval().trunk(tokens_BT)
        finally:
            self.train(training)
            for hook in hooks:
                hook.remove()
        return torch.stack(seen)
