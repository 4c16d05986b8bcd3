"""Rotary scaling by hand; that files mean the same in transformers is tests/parity's business."""

from __future__ import annotations

import math

import pytest
import torch

from groundup.core.errors import GroundupError
from groundup.models import build_model, config_for_size
from groundup.models.layers.position import Rotary
from groundup.models.layers.rope_scaling import RopeScaling, document_lengths

SHORT, LONG = (1.0, 2.0), (4.0, 8.0)
LONGROPE = RopeScaling(kind="longrope", original_context_length=3, short_factor=SHORT, long_factor=LONG)
DYNAMIC = RopeScaling(kind="dynamic", factor=2.0, original_context_length=3)


def turns(scaling: RopeScaling, positions: list[list[int]], n_dims: int = 4, theta: float = 100.0) -> torch.Tensor:
    """The angle of each pair [B, T, P], in radians below pi."""
    cos, sin = Rotary(n_dims, theta, scaling).angles(torch.tensor(positions))
    return torch.atan2(sin, cos)[:, :, 0]


def test_lengths_are_those_of_documents() -> None:
    positions = torch.tensor([[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 1, 2]])
    assert document_lengths(positions).tolist() == [[3, 3, 3, 2, 2, 1], [6] * 6, [1, 1, 1, 3, 3, 3]]
    assert document_lengths(torch.tensor([[7], [2]])).tolist() == [[8], [3]], "decoding: all that was read counts"


def test_linear_stretches_all() -> None:
    scaling = RopeScaling(kind="linear", factor=4.0)
    torch.testing.assert_close(turns(scaling, [[8]]), torch.tensor([[[2.0, 0.2]]]))


def test_llama3_keeps_fast_pairs_and_stretches_slow_ones() -> None:
    """Wavelengths 2 pi (1, 10, 100, 1000): kept under 50, stretched over 200, 63 lies between."""
    scaling = RopeScaling(kind="llama3", factor=8.0, original_context_length=200)
    found = turns(scaling, [[1]], n_dims=8, theta=10_000.0)[0, 0]
    kept = (200 / (20 * math.pi) - 1) / 3
    between = 0.1 * (kept + (1 - kept) / 8)
    torch.testing.assert_close(found, torch.tensor([1.0, between, 0.01 / 8, 0.001 / 8]))


def test_yarn_keeps_fast_pairs_stretches_slow_ones_and_grows() -> None:
    scaling = RopeScaling(kind="yarn", factor=4.0, original_context_length=628, beta_fast=10.0, beta_slow=1.0)
    cos, sin = Rotary(8, 10_000.0, scaling).angles(torch.tensor([[1]]))
    # 628 tokens hold 10 turns of pair 1 (wavelength 62.8) and one turn of pair 2 (628): rounded bounds 0 or 1 and 2.
    growth = 0.1 * math.log(4) + 1
    torch.testing.assert_close((cos**2 + sin**2).sqrt(), torch.full_like(cos, growth))
    found = torch.atan2(sin, cos).flatten()
    assert found[0] == pytest.approx(1.0, rel=1e-4)
    assert found[2:].tolist() == pytest.approx([0.01 / 4, 0.001 / 4], rel=1e-4)


@pytest.mark.parametrize(
    ("numbers", "growth"),
    [
        ({}, 0.1 * math.log(8) + 1),
        ({"attention_factor": 1.5}, 1.5),
        ({"mscale": 1.0, "mscale_all_dim": 1.0}, 1.0),
        ({"mscale": 1.0}, 0.1 * math.log(8) + 1),
        ({"mscale": 2.0, "mscale_all_dim": 0.5}, (0.2 * math.log(8) + 1) / (0.05 * math.log(8) + 1)),
    ],
)
def test_how_much_yarn_grows(numbers: dict, growth: float) -> None:
    scaling = RopeScaling(kind="yarn", factor=8.0, original_context_length=64, **numbers)
    cos, sin = Rotary(8, 10_000.0, scaling).angles(torch.tensor([[5]]))
    torch.testing.assert_close(cos.hypot(sin), torch.full_like(cos, growth))


def test_longrope_chooses_by_the_length_of_each_document() -> None:
    found = turns(LONGROPE, [[0, 1, 2, 0, 1, 2, 3]])[0]
    short, long = 1 / torch.tensor(SHORT), 1 / torch.tensor(LONG)
    scale = torch.tensor([1.0, 0.1])
    torch.testing.assert_close(found[1], short * scale)
    torch.testing.assert_close(found[4], long * scale)
    torch.testing.assert_close(turns(LONGROPE, [[2], [3]])[:, 0], torch.stack((2 * short, 3 * long)) * scale)


def test_dynamic_begins_where_the_original_length_ends() -> None:
    """Of two pairs the slow one slows by factor x length / original - (factor - 1), to the power of 1."""
    assert turns(DYNAMIC, [[0, 1, 2]])[0, 1].tolist() == pytest.approx([1.0, 0.1])
    six = turns(DYNAMIC, [[0, 1, 2, 3, 4, 5]])[0, 1]
    assert six.tolist() == pytest.approx([1.0, 0.1 / 3])


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
@torch.no_grad()
def test_rows_and_documents_keep_to_themselves_beyond_the_original_length(kind: str) -> None:
    numbers = {"original_context_length": 6, "factor": 4.0}
    if kind == "longrope":
        numbers |= {"short_factor": [1.0, 1.5, 2.0, 2.5], "long_factor": [2.0, 4.0, 6.0, 8.0]}
    scaling = {"kind": kind} | numbers
    model = build_model(config_for_size("d2", 50, 24, "llama", d_model=32, d_head=8, rope_scaling=scaling), seed=1)
    for parameter in model.parameters():
        parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    tokens = torch.randint(50, (1, 24), generator=torch.Generator().manual_seed(3))
    packed = model(tokens, document_ids_BT=torch.tensor([[0] * 5 + [1] * 9 + [2] * 10]))
    apart = torch.cat([model(part) for part in tokens.split([5, 9, 10], dim=1)], dim=1)
    torch.testing.assert_close(packed, apart, atol=1e-5, rtol=0)
    states = [model.new_state(1), model.new_state(1)]
    model.trunk(tokens[:, :4], states[0])
    model.trunk(tokens[:, :9], states[1])
    both, following = states[0].join(states), tokens[:, 20:22].T
    alone = [model(following[:1], states[0]), model(following[1:], states[1])]
    torch.testing.assert_close(model(following, both), torch.cat(alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"kind": "linear", "factor": 2.0, "beta_fast": 3.0}, "beta_fast mean nothing for rope scaling of kind linear"),
        ({"kind": "yarn", "factor": 2.0}, "needs original_context_length"),
        ({"kind": "ntk"}, "kind"),
        ({"kind": "dynamic", "factor": 2.0, "original_context_length": 32}, "context_length 24 must be .* = 64"),
        ({"kind": "longrope", "original_context_length": 8, "short_factor": [1.0]}, "1 numbers in short_factor; .* 4"),
    ],
)
def test_what_does_not_fit_is_refused(numbers: dict, words: str) -> None:
    with pytest.raises(GroundupError, match=words):
        config_for_size("d2", 50, 24, "llama", d_model=32, d_head=8, rope_scaling=numbers)


def test_only_its_own_numbers_are_written() -> None:
    assert DYNAMIC.numbers() == {"factor": 2.0, "original_context_length": 3}
    assert "attention_factor" not in LONGROPE.numbers(), "left to its rule"
