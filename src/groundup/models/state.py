"""Decode state: what a model keeps of the tokens it has already read.

Attention needs the keys and values of all of them (`KeyValueState`, which grows); a recurrent model a few vectors,
however much it read (`RecurrentState`). Made anew, they would cost the whole prompt again at every step. The state is
passed into `trunk` and updated in place, never stored on a module, so one model serves many conversations at once.

Each row has its own length. Rows of different lengths share a batch without padding tokens: what lies beyond a row's
length is never looked at. `join` puts rows prefilled apart into one batch, `select` picks, repeats or drops rows.

Shapes: L layers, B rows, T new tokens, G key-value heads, C capacity, S keys to look at, K numbers a head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from groundup.core.errors import GroundupError

# Room for this many more tokens is made at least, so that growing stays rare; doubling bounds the copying.
GROWTH = 256


class DecodeState(ABC):
    """What rows have read so far: row b `lengths[b]` tokens, of at most `max_length` (None: as many as one likes)."""

    def __init__(self, lengths: list[int], max_length: int | None) -> None:
        self.lengths = lengths
        self.max_length = max_length

    @property
    def batch_size(self) -> int:
        """Number of rows."""
        return len(self.lengths)

    @property
    def longest(self) -> int:
        """Tokens in the longest row."""
        return max(self.lengths, default=0)

    @property
    def even(self) -> bool:
        """Whether all rows have the same length."""
        return len(set(self.lengths)) <= 1

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the state lies."""

    @property
    @abstractmethod
    def n_bytes(self) -> int:
        """Memory the state takes, room made ahead included."""

    def reserve(self, n_new: int) -> None:
        """Make room for `n_new` more tokens in every row; raises GroundupError beyond `max_length`."""
        needed = self.longest + n_new
        if self.max_length is not None and needed > self.max_length:
            raise GroundupError(
                f"{needed} tokens do not fit the {self.max_length} this decode state was made for "
                f"({self.longest} read, {n_new} more given); make it with a larger max_length or give fewer tokens"
            )

    def positions(self, n_new: int) -> Tensor:
        """Positions of the next `n_new` tokens: int64 [B, T]; [1, T] when all rows have the same length."""
        lengths = self.lengths[:1] if self.even else self.lengths
        starts = torch.tensor(lengths, device=self.device)
        return starts[:, None] + torch.arange(n_new, device=self.device)

    def advance(self, n_new: int) -> None:
        """Count `n_new` tokens as read in every row."""
        self.lengths = [length + n_new for length in self.lengths]

    @abstractmethod
    def select(self, rows: Tensor | Sequence[int]) -> DecodeState:
        """A new state of the given rows, by index, in that order; a row may be repeated or left out."""

    @classmethod
    @abstractmethod
    def join(cls, states: Sequence[Any]) -> DecodeState:
        """A new state holding the rows of all `states` (of one kind), in order; their lengths may differ."""


class KeyValueState(DecodeState):
    """Keys and values [L, B, G, C, K] of every token of every row."""

    def __init__(self, keys: Tensor, values: Tensor, lengths: list[int], max_length: int | None) -> None:
        super().__init__(lengths, max_length)
        self.keys, self.values = keys, values

    @classmethod
    def empty(
        cls,
        n_layers: int,
        batch_size: int,
        n_kv_heads: int,
        d_head: int,
        max_length: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> KeyValueState:
        """A state of rows that have read nothing; memory is taken as tokens come."""
        keys, values = torch.zeros(2, n_layers, batch_size, n_kv_heads, 0, d_head, dtype=dtype, device=device)
        return cls(keys, values, [0] * batch_size, max_length)

    @property
    def device(self) -> torch.device:
        return self.keys.device

    @property
    def n_bytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes

    def reserve(self, n_new: int) -> None:
        super().reserve(n_new)
        needed, capacity = self.longest + n_new, self.keys.shape[3]
        if needed > capacity:
            capacity = max(needed, 2 * capacity, GROWTH)
            capacity = capacity if self.max_length is None else min(self.max_length, capacity)
            self.keys, self.values = _with_capacity(self.keys, capacity), _with_capacity(self.values, capacity)

    def mask(self, n_new: int) -> Tensor | None:
        """Which keys each new token may see: boolean [B or 1, 1, T, S]; None when plain causal order says it all."""
        if self.even and (n_new == 1 or self.longest == 0):
            return None
        keys_S = torch.arange(self.longest + n_new, device=self.device)
        return keys_S <= self.positions(n_new)[:, None, :, None]

    def append(self, layer: int, k_BGTK: Tensor, v_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Store a layer's new keys and values behind each row; gives all of that layer's so far, [B, G, S, K] each.

        The rows' lengths change with `advance`, once all layers have appended.
        """
        k_BGTK, v_BGTK = k_BGTK.detach(), v_BGTK.detach()  # a state is for reading on, never for training through
        n_new, keys, values = k_BGTK.shape[2], self.keys[layer], self.values[layer]
        stop = self.longest + n_new
        if self.even:
            keys[:, :, self.longest : stop] = k_BGTK
            values[:, :, self.longest : stop] = v_BGTK
        else:
            rows, places = torch.arange(self.batch_size, device=self.device)[:, None], self.positions(n_new)
            keys[rows, :, places] = k_BGTK.transpose(1, 2).to(keys.dtype)
            values[rows, :, places] = v_BGTK.transpose(1, 2).to(values.dtype)
        return keys[:, :, :stop].to(k_BGTK.dtype), values[:, :, :stop].to(v_BGTK.dtype)

    def select(self, rows: Tensor | Sequence[int]) -> KeyValueState:
        places = torch.as_tensor(rows, dtype=torch.int64, device=self.device)
        lengths = [self.lengths[row] for row in places.tolist()]
        stop = max(lengths, default=0)
        keys, values = (t[:, :, :, :stop].index_select(1, places) for t in (self.keys, self.values))
        return KeyValueState(keys, values, lengths, self.max_length)

    @classmethod
    def join(cls, states: Sequence[KeyValueState]) -> KeyValueState:
        stop = max(state.longest for state in states)
        keys = torch.cat([_with_capacity(state.keys, stop) for state in states], dim=1)
        values = torch.cat([_with_capacity(state.values, stop) for state in states], dim=1)
        return cls(keys, values, _all_lengths(states), _largest_length(states))


class RecurrentState(DecodeState):
    """A recurrent model's memory: named tensors [L, B, ...] of a size that does not depend on what was read.

    A layer reads its part with `tensor(name)[layer]` and writes what it became with `put`.
    """

    def __init__(self, tensors: dict[str, Tensor], lengths: list[int], max_length: int | None = None) -> None:
        super().__init__(lengths, max_length)
        self.tensors = tensors

    @property
    def device(self) -> torch.device:
        return next(iter(self.tensors.values())).device

    @property
    def n_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def put(self, name: str, layer: int, value_B: Tensor) -> None:
        """Replace a layer's part [B, ...] of `name`; never trained through."""
        self.tensors[name][layer] = value_B.detach()

    def select(self, rows: Tensor | Sequence[int]) -> RecurrentState:
        places = torch.as_tensor(rows, dtype=torch.int64, device=self.device)
        tensors = {name: tensor.index_select(1, places) for name, tensor in self.tensors.items()}
        return RecurrentState(tensors, [self.lengths[row] for row in places.tolist()], self.max_length)

    @classmethod
    def join(cls, states: Sequence[RecurrentState]) -> RecurrentState:
        names = states[0].tensors
        tensors = {name: torch.cat([state.tensors[name] for state in states], dim=1) for name in names}
        return cls(tensors, _all_lengths(states), _largest_length(states))


def _all_lengths(states: Sequence[DecodeState]) -> list[int]:
    return [length for state in states for length in state.lengths]


def _largest_length(states: Sequence[DecodeState]) -> int | None:
    lengths = [state.max_length for state in states]
    return None if None in lengths else max(length for length in lengths if length is not None)


def _with_capacity(tensor_LBGCK: Tensor, capacity: int) -> Tensor:
    """A copy cut or filled to `capacity`; with zeros, since 0 x NaN from unset memory would spoil a masked sum."""
    kept = min(capacity, tensor_LBGCK.shape[3])
    grown = tensor_LBGCK.new_zeros(*tensor_LBGCK.shape[:3], capacity, tensor_LBGCK.shape[4])
    grown[:, :, :, :kept] = tensor_LBGCK[:, :, :, :kept]
    return grown
