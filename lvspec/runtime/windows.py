"""Sums over all stretches of a sequence that begin at a site: scores of segments from scores of their tokens."""

from __future__ import annotations

import torch
from torch import Tensor


def token_segments(token: Tensor, length: Tensor) -> Tensor:
    """segment[t, l, k] = sum_{i=0..l} token[t + i, k] + length[k, l]: (B, T, L, K).

    token: (B, T, K), 0 past the end; length: (K, L) or (B or 1, K, L).
    """
    length = length.unsqueeze(0) if length.dim() == 2 else length
    by_site = token.transpose(0, 1).contiguous()
    sums = WindowSums.apply(by_site, length.shape[-1]).add_(length.permute(2, 0, 1))
    return sums.permute(2, 0, 1, 3)


def token_windows(x: Tensor, size: int) -> Tensor:
    """The inputs of a network that begins anew at every site: x (B, T, ...) -> (B, T, size, ...), a view; 0 past the end."""
    padded = torch.cat([x, x.new_zeros(x.shape[0], size - 1, *x.shape[2:])], 1)
    return padded.unfold(1, size, 1).movedim(-1, 2)


class WindowSums(torch.autograd.Function):
    """x (T, ...) -> y (T, L, ...): y[t, l] = sum_{i=0..l} x[t + i], 0 past the end. Sums of few, not differences of
    sums of many, which would cancel."""

    @staticmethod
    def forward(ctx, x, size):
        T = x.shape[0]
        y = x.new_empty(T, size, *x.shape[1:])
        y[:, 0] = x
        for i in range(1, size):
            inside = max(T - i, 0)
            y[:inside, i] = y[:inside, i - 1] + x[i:]
            y[inside:, i] = y[inside:, i - 1]
        return y

    @staticmethod
    def backward(ctx, grad):
        return WindowSpread.apply(grad), None


class WindowSpread(torch.autograd.Function):
    """The transpose of WindowSums: y (T, L, ...) -> x (T, ...), x[t + i] = sum over y[t, l], l >= i."""

    @staticmethod
    def forward(ctx, y):
        T, ctx.size = y.shape[:2]
        x, running = torch.zeros_like(y[:, 0]), torch.zeros_like(y[:, 0])
        for i in reversed(range(ctx.size)):
            running += y[:, i]
            x[i:] += running[: max(T - i, 0)]
        return x

    @staticmethod
    def backward(ctx, grad):
        return WindowSums.apply(grad, ctx.size)
