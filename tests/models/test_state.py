"""Decode state: growing, uneven rows, picking and joining; what the models do with it is in the contracts."""

from __future__ import annotations

import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.models.state import GROWTH, KeyValueState


def state_of(*lengths: int, max_length: int = 1000) -> KeyValueState:
    """Rows that have read 0, 1, 2, ... of their own: row r's key at position p is 100 r + p."""
    states = []
    for row, length in enumerate(lengths):
        state = KeyValueState.empty(1, 1, 1, 2, max_length, torch.float32, torch.device("cpu"))
        state.reserve(length)
        keys = (100 * row + torch.arange(length).float())[None, None, :, None].expand(1, 1, length, 2)
        state.append(0, keys, -keys)
        state.advance(length)
        states.append(state)
    return KeyValueState.join(states)


def keys_of(state: KeyValueState) -> list[list[float]]:
    return [state.keys[0, row, 0, :length, 0].tolist() for row, length in enumerate(state.lengths)]


def test_memory_grows_with_the_text_and_keeps_it() -> None:
    state = KeyValueState.empty(2, 1, 1, 4, 600, torch.float32, torch.device("cpu"))
    assert state.keys.numel() == 0
    capacities = []
    for n in range(600):
        state.reserve(1)
        state.append(0, torch.full((1, 1, 1, 4), float(n)), torch.zeros(1, 1, 1, 4))
        state.advance(1)
        capacities.append(state.keys.shape[3])
    assert sorted(set(capacities)) == [GROWTH, 2 * GROWTH, 600]
    assert keys_of(state) == [list(range(600))]


def test_room_beyond_the_maximum_is_refused() -> None:
    state = state_of(3, max_length=5)
    with pytest.raises(GroundupError, match=r"6 tokens do not fit the 5 .*\(3 read, 3 more given\)"):
        state.reserve(3)


def test_uneven_rows_write_behind_themselves() -> None:
    state = state_of(3, 1)
    assert not state.even
    assert state.positions(2).tolist() == [[3, 4], [1, 2]]
    state.reserve(2)
    new = torch.tensor([[7.0, 8.0], [9.0, 10.0]])[:, None, :, None].expand(2, 1, 2, 2)
    keys, values = state.append(0, new, -new)
    assert keys.shape == values.shape == (2, 1, 5, 2)
    state.advance(2)
    assert state.lengths == [5, 3]
    assert keys_of(state) == [[0, 1, 2, 7, 8], [100, 9, 10]]
    assert torch.equal(values, -keys)


def test_masks_say_what_each_new_token_may_see() -> None:
    assert state_of(4, 4).mask(1) is None, "one new token in even rows sees everything"
    assert state_of(0, 0).mask(3) is None, "an empty state is plain causal order"
    uneven = state_of(2, 0).mask(1)
    assert uneven is not None
    assert uneven[:, 0, 0].tolist() == [[True, True, True], [True, False, False]]
    continued = state_of(1, 1).mask(2)
    assert continued is not None
    assert continued[:, 0].tolist() == [[[True, True, False], [True, True, True]]]


def test_select_and_join_carry_rows_whole() -> None:
    state = state_of(3, 1, 2)
    picked = state.select([2, 1, 1])
    assert picked.lengths == [2, 1, 1]
    assert keys_of(picked) == [[200, 201], [100], [100]]
    assert picked.keys.shape[3] == 2, "rows left out take no room"
    joined = KeyValueState.join([picked, state])
    assert joined.lengths == [2, 1, 1, 3, 1, 2]
    assert keys_of(joined)[3:] == keys_of(state)
    assert state.select([]).batch_size == 0


def test_what_lies_beyond_a_row_is_zero_not_rubbish() -> None:
    joined = state_of(1, 4)
    assert joined.keys[0, 0, 0, 1:].abs().max() == 0
    joined.reserve(GROWTH)
    assert torch.isfinite(joined.keys).all()
    assert joined.keys[0, :, 0, 4:].abs().max() == 0


def test_a_state_holds_no_gradients() -> None:
    state = state_of(2)
    state.reserve(1)
    keys, values = state.append(0, torch.ones(1, 1, 1, 2, requires_grad=True), torch.ones(1, 1, 1, 2))
    assert not keys.requires_grad
    assert not values.requires_grad
