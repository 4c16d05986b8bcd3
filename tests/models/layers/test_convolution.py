"""The short convolution against torch's, continued from a window, and within documents."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from groundup.models.layers.convolution import CausalConvolution
from groundup.models.layers.position import document_positions


def made(width: int, bias: bool = True) -> CausalConvolution:
    convolution = CausalConvolution(5, width, bias)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in convolution.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return convolution


X = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("width", [1, 2, 4])
@torch.no_grad()
def test_it_is_torchs_convolution(width: int, bias: bool) -> None:
    convolution = made(width, bias)
    padded = F.pad(X.transpose(1, 2), (width - 1, 0))
    expected = F.conv1d(padded, convolution.weight, convolution.bias, groups=5).transpose(1, 2)
    out, window = convolution(X)
    torch.testing.assert_close(out, expected)
    assert torch.equal(window, X[:, 9 - (width - 1) :])


@torch.no_grad()
def test_piece_by_piece_is_the_whole() -> None:
    convolution, window, pieces = made(4), None, []
    for piece in X.split((1, 2, 1, 5), dim=1):
        out, window = convolution(piece, window)
        pieces.append(out)
    torch.testing.assert_close(torch.cat(pieces, dim=1), convolution(X)[0])


@torch.no_grad()
def test_nothing_reaches_over_a_border() -> None:
    convolution = made(4)
    ids = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 2, 2], [0, 1, 2, 2, 2, 2, 2, 2, 2]])
    out, _ = convolution(X, positions_BT=document_positions(ids))
    for row, lengths in enumerate(((2, 5, 2), (1, 1, 7))):
        apart = [convolution(part[None])[0][0] for part in X[row].split(lengths)]
        torch.testing.assert_close(out[row], torch.cat(apart), rtol=0, atol=0)


def test_a_new_one_is_small_and_reproducible() -> None:
    one, same = CausalConvolution(50, 4, True), CausalConvolution(50, 4, True)
    for convolution in (one, same):
        convolution.initialize(torch.Generator().manual_seed(3))
    assert torch.equal(one.weight, same.weight)
    assert 0.4 < one.weight.abs().max() <= 0.5
    assert one.bias is not None
    assert one.bias.abs().max() == 0
