"""Convolutions of images: their shapes, their taps, and that one is the other's transpose."""

import pytest
import torch

from lvspec.runtime import Convolution2d, TransposedConvolution2d

KINDS = [(1, 1), (3, 1), (5, 1), (3, 2), (4, 2), (2, 2), (1, 2), (2, 3), (5, 3)]


def values(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("kernel", "stride"), KINDS)
def test_images_are_as_large_as_is_said_whatever_axes_stand_before(kernel, stride):
    down, up = (k(2, 3, 4, 5, kernel, stride).double() for k in (Convolution2d, TransposedConvolution2d))
    for lead in ((), (2,), (2, 3), (0,), (2, 0)):
        assert down(values(*lead, 2, 4 * stride, 5 * stride)).shape == (*lead, 3, 4, 5)
        assert up(values(*lead, 2, 4, 5)).shape == (*lead, 3, 4 * stride, 5 * stride)


@pytest.mark.parametrize(("kernel", "stride"), KINDS)
def test_one_is_the_transpose_of_the_other(kernel, stride):
    """<down x, y> = <x, up y> with the same taps and no bias."""
    down = Convolution2d(2, 3, 4, 5, kernel, stride).double()
    up = TransposedConvolution2d(3, 2, 4, 5, kernel, stride).double()
    with torch.no_grad():
        up.taps.weight.copy_(down.taps.weight)
        up.taps.bias.zero_(), down.taps.bias.zero_()
    x, y = values(2, 4 * stride, 5 * stride), values(3, 4, 5)
    torch.testing.assert_close((down(x) * y).sum(), (x * up(y)).sum())


def test_a_convolution_is_a_sum_over_taps():
    network = Convolution2d(2, 3, 4, 5, kernel=3, stride=2).double()
    x, weight, bias = values(2, 8, 10), network.taps.weight, network.taps.bias
    for r in range(4):
        for c in range(5):
            places = [(k, l, 2 * r + k - 1, 2 * c + l - 1) for k in range(3) for l in range(3)]
            inside = [p for p in places if 0 <= p[2] < 8 and 0 <= p[3] < 10]
            expected = bias + sum(weight[:, :, k, l] @ x[:, i, j] for k, l, i, j in inside)
            torch.testing.assert_close(network(x)[:, r, c], expected)
