"""The plan keeps what is asked, fills in what is left, and takes the size with the lowest loss."""

from __future__ import annotations

import math

import pytest

from groundup.core.errors import GroundupError
from groundup.data.store import TokenStore
from groundup.pretraining import planner
from groundup.pretraining.plan import Plan
from groundup.pretraining.planner import plan


def test_a_faster_machine_gets_a_larger_model_and_a_lower_loss(store: TokenStore, machine_of, settings):
    found = []
    for flops in (1e8, 1e9, 1e10):
        machine_of(flops)
        found.append(plan(store, settings(time=30.0)))
    depths = [each.n_layers for each in found]
    assert depths == sorted(depths)
    losses = [each.loss for each in found]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1]


def test_the_best_and_its_neighbours_are_rehearsed_and_no_others(store: TokenStore, machine_of, settings):
    machine = machine_of(1e9)
    found = plan(store, settings(time=30.0))
    place = planner.DEPTHS.index(found.n_layers)
    around = planner.DEPTHS[max(0, place - 1) : place + 2]
    assert set(around) <= set(machine.rehearsed)
    assert len(machine.rehearsed) == len(set(machine.rehearsed)) < len(planner.DEPTHS)
    marked = {candidate.size: candidate.rehearsed for candidate in found.candidates}
    assert {f"d{depth}" for depth in machine.rehearsed} == {size for size, rehearsed in marked.items() if rehearsed}


def test_when_the_time_to_plan_is_up_only_what_was_rehearsed_is_taken(store: TokenStore, machine_of, settings):
    machine = machine_of(1e12, rehearsal_seconds=60.0)
    found = plan(store, settings(time=30.0))
    assert machine.rehearsed == [2] == [found.n_layers]
    assert found.planning_seconds >= 60.0


def test_the_chosen_size_is_among_the_candidates_and_has_the_lowest_loss(timed: Plan):
    chosen = next(candidate for candidate in timed.candidates if candidate.size == timed.size)
    assert chosen.rehearsed
    assert chosen.loss <= min(candidate.loss for candidate in timed.candidates if candidate.rehearsed) * 1.006
    assert (chosen.loss, chosen.steps, chosen.tokens) == (timed.loss, timed.steps, timed.tokens)
    assert timed.tokens == timed.steps * timed.batch_size * 32
    assert timed.epochs == pytest.approx(timed.tokens / timed.train_tokens, rel=2e-3)  # of whole windows
    assert timed.batch_size % timed.micro_batch_size == 0
    assert 1.0 < timed.loss < math.log(timed.vocab_size)
    assert timed.size in timed.reason


def test_what_is_asked_for_is_kept(store: TokenStore, settings):
    given = {
        "size": "d3",
        "d_model": 32,
        "n_heads": 2,
        "batch_size": 6,
        "micro_batch_size": 2,
        "steps": 7,
        "learning_rate": 0.011,
        "weight_decay": 0.25,
        "evaluation_tokens": 999,
    }
    shape = ("n_heads",)
    found = plan(store, settings(**given))
    for name, value in given.items():
        assert name in shape or getattr(found, name) == value, name
    assert found.tokens == 7 * 6 * 32
    assert found.reason == "d3 was asked for"
    assert len(found.candidates) == 1
    assert found.n_layers == 3


def test_gpt2_is_planned_too(store: TokenStore, settings):
    found = plan(store, settings(architecture="gpt2", size="d2", steps=5, dropout=0.1))
    assert found.n_layers == 2
    assert found.memory_bytes > found.n_parameters * 16


def test_a_text_shorter_than_a_window_is_refused(store: TokenStore, settings):
    with pytest.raises(GroundupError, match="one window of context_length 1,000,000"):
        plan(store, settings(context_length=1_000_000, size="d2"))
