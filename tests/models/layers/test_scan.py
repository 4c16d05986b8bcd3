"""The scan: by hand, its ways against each other, over chunks and documents, with rates that would overflow if divided."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from groundup.models.layers import scan
from groundup.models.layers.scan import CHUNK, SelectiveScan, chunked_scan, reference_scan


def some(length: int, n_rows: int = 2, n_channels: int = 6, n_state: int = 3, speed: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(length)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return [
        draw(n_rows, length, n_channels),
        speed * draw(n_rows, length, n_channels).abs(),
        -draw(n_state, n_channels).abs(),
        draw(n_rows, length, n_state),
        draw(n_rows, length, n_state),
        draw(n_rows, n_state, n_channels),
    ]


def test_two_steps_by_hand() -> None:
    x, step = torch.tensor([[[3.0], [5.0]]]), torch.tensor([[[0.5], [2.0]]])
    rate, b, c = torch.tensor([[-1.0]]), torch.tensor([[[2.0], [1.0]]]), torch.tensor([[[1.0], [10.0]]])
    start = torch.tensor([[[4.0]]])
    first = torch.exp(torch.tensor(-0.5)) * 4 + 0.5 * 3 * 2
    second = torch.exp(torch.tensor(-2.0)) * first + 2 * 5 * 1
    for way in (reference_scan, chunked_scan):
        y, end = way(x, step, rate, b, c, start)
        torch.testing.assert_close(y.flatten(), torch.stack((first, 10 * second)))
        torch.testing.assert_close(end.flatten(), second[None])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, 2 * CHUNK + 3])
@pytest.mark.parametrize("speed", [1.0, 100.0], ids=["slow", "fast"])
def test_chunks_equal_steps_forward_and_backward(length: int, packed: bool, speed: float) -> None:
    fresh = torch.rand(2, length, generator=torch.Generator().manual_seed(0)) < 0.2 if packed else None
    results = []
    for way in (reference_scan, chunked_scan):
        inputs = [tensor.requires_grad_() for tensor in some(length, speed=speed)]
        y, end = way(*inputs, fresh)
        (y.sin().sum() + (end * end).sum() / speed**2).backward()
        results.append([y, end, *(tensor.grad for tensor in inputs)])
    for plain, chunked in zip(*results, strict=True):
        assert torch.isfinite(chunked).all()
        torch.testing.assert_close(chunked, plain, rtol=1e-3, atol=1e-4 * speed)


def test_a_new_document_remembers_nothing() -> None:
    x, step, rate, b, c, memory = some(2 * CHUNK)
    fresh = torch.zeros(2, 2 * CHUNK, dtype=torch.bool)
    fresh[:, [0, 5, CHUNK + 2]] = True
    y, end = chunked_scan(x, step, rate, b, c, memory, fresh)
    nothing, pieces = torch.zeros_like(memory), []
    for part in (slice(0, 5), slice(5, CHUNK + 2), slice(CHUNK + 2, None)):
        out, last = chunked_scan(x[:, part], step[:, part], rate, b[:, part], c[:, part], nothing)
        pieces.append(out)
    assert torch.equal(y, torch.cat(pieces, dim=1))
    assert torch.equal(end, last)


def test_half_precision_is_scanned_in_full() -> None:
    inputs = [tensor.bfloat16() for tensor in some(20)]
    y, end = SelectiveScan()(*inputs)
    assert y.dtype == end.dtype == torch.float32
    expected, _ = reference_scan(*(tensor.float() for tensor in inputs))
    torch.testing.assert_close(y, expected)


def test_the_operation_keeps_its_promises_to_the_compiler() -> None:
    taken, step, rate, b, c, memory = some(CHUNK + 1)
    over_time = [tensor.transpose(0, 1).contiguous().requires_grad_() for tensor in (taken, step, b, c)]
    torch.library.opcheck(scan._scan, (*over_time, rate, memory, None))


@pytest.mark.skipif(not (torch.cuda.is_available() and scan.kernel_is_there()), reason="needs a GPU and mamba_ssm")
def test_the_kernel_equals_the_steps() -> None:
    x, step, rate, b, c, memory = (tensor.cuda() for tensor in some(50, n_state=16))
    y, end = scan.kernel_scan(x, step, rate, b, c)
    expected, their_end = reference_scan(x, step, rate, b, c, torch.zeros_like(memory))
    torch.testing.assert_close(y, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(end, their_end, rtol=1e-3, atol=1e-3)
