"""Attention: a case done by hand, and every fast path against the reference on random shapes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from groundup.models.layers.attention import _library_kernel, _plain_blocks, attention, reference_attention

PATHS = {"library": _library_kernel, "blocks": _plain_blocks}
# batch, heads, key-value heads, queries, keys, d_head
SHAPES = [
    (2, 4, 4, 9, 9, 8),
    (1, 6, 2, 8, 8, 4),
    (3, 4, 1, 1, 7, 6),
    (2, 2, 2, 5, 11, 3),
    (1, 4, 2, 1, 1, 2),
    (1, 3, 1, 2, 2, 8),
]


def random_inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    batch, heads, groups, queries, keys, width = shape
    torch.manual_seed(0)
    q = torch.randn(batch, heads, queries, width, dtype=dtype)
    k, v = torch.randn(2, batch, groups, keys, width, dtype=dtype).unbind()
    return q, k, v


def test_by_hand() -> None:
    """Two tokens, one head of width 1: the second query scores 2 and 0, so looks at the first by e^2 / (e^2 + 1)."""
    q, k, v = (torch.tensor(x).view(1, 1, 2, 1) for x in ([1.0, 1.0], [2.0, 0.0], [10.0, 20.0]))
    out, weights = reference_attention(q, k, v)
    share = math.exp(2) / (math.exp(2) + 1)
    torch.testing.assert_close(weights[0, 0], torch.tensor([[1.0, 0.0], [share, 1 - share]]))
    torch.testing.assert_close(out.flatten(), torch.tensor([10.0, 10 * share + 20 * (1 - share)]))


def test_queries_are_aligned_with_the_last_keys() -> None:
    q, k, v = random_inputs((1, 1, 1, 2, 5, 4))
    weights = reference_attention(q, k, v)[1][0, 0]
    assert (weights > 0).tolist() == [[True] * 4 + [False], [True] * 5]


def test_neighbouring_heads_share_keys() -> None:
    q, k, v = random_inputs((1, 4, 2, 3, 3, 4))
    out = reference_attention(q, k, v)[0]
    for head in range(4):
        alone = reference_attention(q[:, [head]], k[:, [head // 2]], v[:, [head // 2]])[0]
        torch.testing.assert_close(out[:, [head]], alone)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("kind", "shape"),
    # Causal order without a mask needs as many queries as keys.
    [
        (kind, shape)
        for kind in ("causal", "mask", "everything", "added", "added a head")
        for shape in SHAPES
        if kind != "causal" or shape[3] == shape[4]
    ],
    ids=str,
)
def test_fast_equals_reference_with_gradients(path: str, kind: str, shape: tuple[int, ...]) -> None:
    batch, _, _, queries, keys, _ = shape
    masks = {
        "causal": None,
        "mask": (torch.rand(batch, 1, queries, keys) < 0.5).index_fill(-1, torch.tensor([0]), True),
        "everything": torch.ones(1, 1, queries, keys, dtype=torch.bool),
        "added": torch.randn(batch, 1, queries, keys),
        "added a head": torch.randn(batch, shape[1], queries, keys).index_fill(
            -1, torch.arange(1, keys, 2), -torch.inf
        ),
    }
    inputs = [tensor.requires_grad_() for tensor in random_inputs(shape)]
    expected = reference_attention(*inputs, masks[kind])[0]
    wanted = torch.autograd.grad(expected.sin().sum(), inputs)
    given_mask = masks[kind] if kind in ("mask", "added", "added a head") else None
    out = PATHS[path](*inputs, given_mask, kind == "causal")
    torch.testing.assert_close(out, expected, atol=2e-6, rtol=1e-5)
    for one, other in zip(torch.autograd.grad(out.sin().sum(), inputs), wanted, strict=True):
        torch.testing.assert_close(one, other, atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("gradient", [False, True])
def test_bf16_is_near_and_keeps_its_dtype(path: str, gradient: bool) -> None:
    inputs = [tensor.requires_grad_(gradient) for tensor in random_inputs((2, 4, 2, 32, 32, 16), torch.bfloat16)]
    exact = reference_attention(*(tensor.float() for tensor in inputs))[0]
    out = PATHS[path](*inputs, None, True)
    assert out.dtype == torch.bfloat16
    assert (out.float() - exact).abs().max() < 0.03


def test_dropout_keeps_the_mean_and_drops() -> None:
    torch.manual_seed(0)
    q = k = torch.zeros(1, 1, 400, 2)
    v = torch.ones(1, 1, 400, 2)
    out = attention(q, k, v, dropout=0.5)[0, 0, 200:, 0]
    assert float(out.mean()) == pytest.approx(1.0, abs=0.02)
    assert float(out.std()) > 0.02
    torch.testing.assert_close(attention(q, k, v), v)


def test_learned_sinks_by_hand() -> None:
    """Two keys of score 0 and a sink of log 2: the keys get a quarter each, and nothing half."""
    q, k = torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 2, 2)
    v = torch.tensor([[1.0, 0.0], [0.0, 4.0]])[None, None]
    everything = torch.ones(1, 1, 1, 2, dtype=torch.bool)
    out, weights = reference_attention(q, k, v, everything, sinks_H=torch.tensor([math.log(2)]))
    torch.testing.assert_close(weights.flatten(), torch.tensor([0.25, 0.25]))
    torch.testing.assert_close(out.flatten(), torch.tensor([0.25, 1.0]))
    torch.testing.assert_close(attention(q, k, v, causal=False, sinks_H=torch.tensor([math.log(2)])), out)
    # A sink that nobody wants changes nothing.
    torch.testing.assert_close(
        attention(q, k, v, causal=False, sinks_H=torch.tensor([-50.0])), attention(q, k, v, causal=False)
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_learned_sinks_are_those_of_gpt_oss(shape: tuple[int, ...]) -> None:
    gpt_oss = pytest.importorskip("transformers.models.gpt_oss.modeling_gpt_oss")
    q, k, v = random_inputs(shape)
    module = torch.nn.Module()
    module.sinks, module.num_key_value_groups = torch.randn(shape[1]), shape[1] // shape[2]
    seen = torch.ones(shape[3], shape[4], dtype=torch.bool).tril(shape[4] - shape[3])
    added = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)[None, None]
    theirs, their_weights = gpt_oss.eager_attention_forward(module, q, k, v, added, scaling=0.7)
    ours, weights = reference_attention(q, k, v, seen, scale=0.7, sinks_H=module.sinks)
    torch.testing.assert_close(ours.transpose(1, 2), theirs)
    torch.testing.assert_close(weights, their_weights)


def test_one_token_sees_everything_it_is_given() -> None:
    q, k, v = random_inputs((2, 4, 2, 1, 9, 8))
    torch.testing.assert_close(attention(q, k, v, causal=False), reference_attention(q, k, v)[0])


@pytest.mark.parametrize("share", [1, 2])
def test_one_token_in_bf16_is_rounded_once(share: int) -> None:
    """Scores and weights of a single query are fp32: nothing but the output is rounded to bf16."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(2, h, t, 16, generator=generator).bfloat16()
        for h, t in ((4, 1), (4 // share, 90), (4 // share, 90))
    )
    exact, _ = reference_attention(q.double(), k.double(), v.double())
    torch.testing.assert_close(attention(q, k, v, causal=False).double(), exact, rtol=2**-8, atol=1e-5)


def test_causal_order_over_a_cache_is_our_mistake() -> None:
    q, k, v = random_inputs((1, 2, 2, 3, 5, 4))
    with pytest.raises(AssertionError):
        attention(q, k, v)


@pytest.mark.parametrize("longest", [0, 1024])  # the tables made anew in the backward pass, and kept
@pytest.mark.parametrize("block", [3, 128])
@pytest.mark.parametrize(
    ("kind", "shape"), [("causal", SHAPES[0]), ("causal", SHAPES[1]), ("mask", SHAPES[3]), ("all", SHAPES[2])]
)
def test_soft_caps_equal_the_reference_with_gradients(
    kind: str, shape: tuple[int, ...], block: int, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groundup.models.layers.attention.BLOCK", block)
    monkeypatch.setattr("groundup.models.layers.attention.LONGEST_PLAIN_CONTEXT", longest)
    inputs = [tensor.requires_grad_() for tensor in random_inputs(shape)]
    mask = (torch.rand(shape[0], 1, *shape[3:5]) < 0.5).index_fill(-1, torch.tensor([0]), True)
    mask = mask if kind == "mask" else None
    expected = reference_attention(*inputs, mask, scale=0.9, softcap=1.5)[0]
    out = attention(*inputs, mask=mask, causal=kind == "causal", scale=0.9, softcap=1.5)
    torch.testing.assert_close(out, expected, atol=2e-6, rtol=1e-5)
    assert (expected - reference_attention(*inputs, mask, scale=0.9)[0]).abs().max() > 0.01
    wanted = torch.autograd.grad(expected.sin().sum(), inputs)
    for one, other in zip(torch.autograd.grad(out.sin().sum(), inputs), wanted, strict=True):
        torch.testing.assert_close(one, other, atol=5e-6, rtol=1e-5)
