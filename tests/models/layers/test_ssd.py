"""The scan of Mamba 2: by hand, its ways against each other, over chunks and documents, at speeds that forget all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from groundup.models.layers.scan import kernel_is_there
from groundup.models.layers.ssd import StateSpaceDual, chunked_ssd, kernel_ssd, reference_ssd


def some(length: int, n_heads: int = 6, n_groups: int = 2, speed: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(length)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return [
        draw(2, length, n_heads, 4),
        speed * draw(2, length, n_heads).abs(),
        -draw(n_heads).abs(),
        draw(2, length, n_groups, 5),
        draw(2, length, n_groups, 5),
        draw(2, n_heads, 5, 4),
    ]


def test_two_steps_by_hand() -> None:
    x, step = torch.tensor([3.0, 5.0]).view(1, 2, 1, 1), torch.tensor([0.5, 2.0]).view(1, 2, 1)
    b, c = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1), torch.tensor([1.0, 10.0]).view(1, 2, 1, 1)
    first = torch.exp(torch.tensor(-0.5)) * 4 + 0.5 * 3 * 2
    second = torch.exp(torch.tensor(-2.0)) * first + 2 * 5 * 1
    for way in (reference_ssd, chunked_ssd):
        y, end = way(x, step, torch.tensor([-1.0]), b, c, torch.full((1, 1, 1, 1), 4.0))
        torch.testing.assert_close(y.flatten(), torch.stack((first, 10 * second)))
        torch.testing.assert_close(end.flatten(), second[None])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("length", [1, 7, 8, 19])
@pytest.mark.parametrize("speed", [1.0, 100.0], ids=["slow", "fast"])
def test_chunks_equal_steps_forward_and_backward(length: int, packed: bool, speed: float) -> None:
    fresh = torch.rand(2, length, generator=torch.Generator().manual_seed(0)) < 0.2 if packed else None
    results = []
    for way, options in ((reference_ssd, {}), (chunked_ssd, {"chunk": 8})):
        inputs = [tensor.requires_grad_() for tensor in some(length, speed=speed)]
        y, end = way(*inputs, fresh, **options)
        ((y / speed).sin().sum() + (end / speed).square().sum()).backward()
        results.append([y / speed, end / speed, *(tensor.grad for tensor in inputs)])
    for plain, chunked in zip(*results, strict=True):
        assert torch.isfinite(chunked).all()
        torch.testing.assert_close(chunked, plain, rtol=1e-3, atol=1e-5 * max(10.0, speed))


def test_a_new_document_remembers_nothing() -> None:
    x, step, rate, b, c, memory = some(20)
    fresh = torch.zeros(2, 20, dtype=torch.bool)
    fresh[:, [0, 5, 13]] = True
    y, end = chunked_ssd(x, step, rate, b, c, memory, fresh, chunk=8)
    pieces, last = [], memory
    for part in (slice(0, 5), slice(5, 13), slice(13, None)):
        nothing = torch.zeros_like(memory)
        out, last = chunked_ssd(x[:, part], step[:, part], rate, b[:, part], c[:, part], nothing)
        pieces.append(out)
    torch.testing.assert_close(y, torch.cat(pieces, dim=1))
    torch.testing.assert_close(end, last)
    changed = x.clone()
    changed[:, :13] = 1e6
    again, same_end = chunked_ssd(changed, step, rate, b, c, 1e6 * memory, fresh, chunk=8)
    assert torch.equal(again[:, 13:], y[:, 13:]), "not a bit of what came before"
    assert torch.equal(same_end, end)


def test_products_in_half_precision_stay_close() -> None:
    x, step, rate, b, c, memory = some(40)
    y, end = StateSpaceDual()(x.bfloat16(), step, rate, b.bfloat16(), c.bfloat16(), memory)
    assert y.dtype == end.dtype == torch.float32
    expected, _ = reference_ssd(x, step, rate, b, c, memory)
    assert 1e-5 < float((y - expected).norm() / expected.norm()) < 0.02


@pytest.mark.skipif(not (torch.cuda.is_available() and kernel_is_there()), reason="needs a GPU and mamba_ssm")
@pytest.mark.parametrize("packed", [False, True])
def test_the_kernel_equals_the_steps(packed: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 150, 4, 64), (2, 150, 4), (4,), (2, 150, 1, 64), (2, 150, 1, 64), (2, 4, 64, 64))
    x, step, rate, b, c, memory = (torch.randn(shape, generator=generator).cuda() for shape in shapes)
    fresh = (torch.rand(2, 150, generator=generator) < 0.1).cuda() if packed else None
    if packed:
        memory = torch.zeros_like(memory)
    for mine, theirs in zip(
        kernel_ssd(x, step.abs(), -rate.abs(), b, c, memory, fresh),
        reference_ssd(x, step.abs(), -rate.abs(), b, c, memory, fresh),
        strict=True,
    ):
        assert float((mine - theirs).norm() / theirs.norm()) < 0.01
