"""Convolutions of images, down to rows × columns by a stride, or up from them."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

__all__ = ["Convolution2d", "TransposedConvolution2d"]


def padding(kernel: int, stride: int) -> tuple[int, int]:
    """Zeros on each side, and rows more on one of them, so that the larger image is `stride` times as high as the smaller one."""
    each = max(0, -((stride - kernel) // 2))
    return each, stride - kernel + 2 * each


class Convolution2d(nn.Module):
    """(*lead, in, stride rows, stride columns) -> (*lead, out, rows, columns); zeros around the image.

    y[o, r, c] = b[o] + Σ_i,k,l W[o, i, k, l] x[i, stride r + k - p, stride c + l - p] with p zeros on each side.
    """

    def __init__(self, size: int, out: int, rows: int, columns: int, kernel: int = 3, stride: int = 1):
        super().__init__()
        self.taps = nn.Conv2d(size, out, kernel, stride, padding(kernel, stride)[0])

    def forward(self, x: Tensor) -> Tensor:
        y = self.taps(x.reshape(prod(x.shape[:-3]), *x.shape[-3:]))
        return y.reshape(*x.shape[:-3], *y.shape[-3:])


class TransposedConvolution2d(nn.Module):
    """(*lead, in, rows, columns) -> (*lead, out, stride rows, stride columns): the transpose of such a convolution, and a bias.

    y[o, stride r + k - p, stride c + l - p] = b[o] + Σ_i,r,c W[i, o, k, l] x[i, r, c].
    """

    def __init__(self, size: int, out: int, rows: int, columns: int, kernel: int = 3, stride: int = 1):
        super().__init__()
        each, more = padding(kernel, stride)
        self.taps = nn.ConvTranspose2d(size, out, kernel, stride, each, more)

    def forward(self, x: Tensor) -> Tensor:
        y = self.taps(x.reshape(prod(x.shape[:-3]), *x.shape[-3:]))
        return y.reshape(*x.shape[:-3], *y.shape[-3:])
