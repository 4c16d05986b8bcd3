"""Settings refuse what cannot be meant; drawing follows the distribution, the seed and nothing else."""

from __future__ import annotations

import math

import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.generation.sampling import (
    NUCLEUS_GUESS,
    SamplingSettings,
    choose_tokens,
    generator_for,
    keep_top_p,
    narrowed_scores,
)


def generators(n: int, seed: int = 0) -> list[torch.Generator]:
    return [generator_for(seed, sample, torch.device("cpu")) for sample in range(n)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", -1),
        ("top_k", 2.5),
        ("top_p", 0),
        ("top_p", 1.01),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("repetition_penalty", 0),
        ("repetition_penalty", -1),
        ("max_new_tokens", 0),
        ("seed", -1),
        ("stop", ["a", ""]),
        ("stop", ""),
    ],
)
def test_a_setting_out_of_range_is_named(name, value):
    with pytest.raises(GroundupError, match=name if name != "stop" else "empty stop string"):
        SamplingSettings.build({name: value})


def test_all_problems_come_in_one_message():
    with pytest.raises(GroundupError) as error:
        SamplingSettings.build({"temperatur": 1, "top_p": 2, "top_k": -3}, source="generate")
    assert "did you mean 'temperature'" in str(error.value)
    assert "top_p is 2" in str(error.value)
    assert "top_k is -3" in str(error.value)


@pytest.mark.parametrize(("name", "value"), [("top_k", 5), ("top_p", 0.9), ("min_p", 0.1)])
def test_a_setting_without_effect_is_refused(name, value):
    with pytest.raises(GroundupError, match=f"temperature 0 .* {name} would do nothing"):
        SamplingSettings.build({"temperature": 0, name: value})
    SamplingSettings.build({"temperature": 0, "repetition_penalty": 1.5})


def test_one_stop_string_may_be_given_without_a_list():
    assert SamplingSettings.build({"stop": "ab"}).stop == ("ab",)


def test_greedy_takes_the_greatest_and_the_first_of_equals():
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 3.0, -1.0]])
    assert choose_tokens(logits, SamplingSettings(temperature=0), generators(2)) == [1, 0]


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature):
    n_draws, logits_V = 20_000, torch.tensor([2.0, 1.0, 0.0, -1.0])
    generator = generator_for(3, 0, torch.device("cpu"))
    drawn = choose_tokens(logits_V.expand(n_draws, 4), SamplingSettings(temperature=temperature), [generator] * n_draws)
    shares = torch.bincount(torch.tensor(drawn), minlength=4) / n_draws
    # Four standard errors of a share are at most 4 * sqrt(0.25 / 20,000) = 0.014.
    torch.testing.assert_close(shares, (logits_V / temperature).softmax(-1), atol=0.014, rtol=0)


def test_a_row_draws_the_same_whatever_its_neighbours_are():
    logits, settings = torch.randn(5, 50), SamplingSettings(temperature=1.5)
    together = choose_tokens(logits, settings, generators(5))
    alone = [choose_tokens(logits[i : i + 1], settings, [generators(5)[i]])[0] for i in range(5)]
    assert together == alone
    assert len(set(choose_tokens(logits[:1].expand(5, 50), settings, generators(5)))) > 1  # samples differ


def test_another_seed_draws_otherwise():
    logits, settings = torch.zeros(20, 1000), SamplingSettings(temperature=1)
    assert choose_tokens(logits, settings, generators(20)) == choose_tokens(logits, settings, generators(20))
    assert choose_tokens(logits, settings, generators(20)) != choose_tokens(logits, settings, generators(20, seed=1))


@pytest.mark.parametrize("temperature", [1e-320, 1e-30, 1e-6])
def test_a_temperature_close_to_zero_is_greedy(temperature):
    logits = torch.tensor([[-5.0, 9.0, 8.99, -math.inf]])
    assert choose_tokens(logits, SamplingSettings(temperature=temperature), generators(1)) == [1]


def test_forbidden_tokens_are_never_drawn():
    settings = SamplingSettings(temperature=1, top_k=2)
    generator = generator_for(0, 0, torch.device("cpu"))
    drawn = choose_tokens(torch.tensor([3.0, 2.0, 1.0]).expand(500, 3), settings, [generator] * 500)
    assert set(drawn) == {0, 1}


def test_top_p_sorts_everything_only_when_it_must():
    n_tokens = 4 * NUCLEUS_GUESS
    even = torch.linspace(0, 1e-4, n_tokens)[None]  # the first guess holds a quarter of the probability
    assert keep_top_p(even, 0.9).isfinite().sum() == pytest.approx(0.9 * n_tokens, abs=2)
    assert keep_top_p(even, 0.1).isfinite().sum() == pytest.approx(0.1 * n_tokens, abs=2)
    assert keep_top_p(even, 1e-9).isfinite().nonzero().tolist() == [[0, n_tokens - 1]]


def test_bfloat16_logits_are_narrowed_in_float32():
    assert narrowed_scores(torch.randn(2, 9, dtype=torch.bfloat16), SamplingSettings()).dtype == torch.float32


@pytest.mark.parametrize("temperature", [0, 1])
def test_logits_that_are_not_numbers_say_that_the_model_is_broken(temperature):
    with pytest.raises(GroundupError, match="not numbers"):
        choose_tokens(torch.tensor([[0.0, math.nan]]), SamplingSettings(temperature=temperature), generators(1))
