"""All stretches of a sequence that begin at a site: what is read along them, and scores of segments from those of tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def token_segments(token: Tensor, length: Tensor) -> Tensor:
    """segment[t, l, k] = sum_{i=0..l} token[t + i, k] + length[k, l]: (B, T, L, K).

    token: (B, T, K), 0 past the end; length: (K, L) or (B or 1, K, L).
    """
    length = length.unsqueeze(0) if length.dim() == 2 else length
    by_site = token.transpose(0, 1).contiguous()
    sums = WindowSums.apply(by_site, length.shape[-1]).add_(length.permute(2, 0, 1))
    return sums.permute(2, 0, 1, 3)


def windows(x: Tensor, dim: int, size: int) -> Tensor:
    """x at the `size` sites from each site on: (..., T, ...) -> (..., T, size, ...) along axis `dim`. Past the end stands the
    last site again, which densities can take, and of a mask False."""
    shape = list(x.shape)
    if shape[dim] == 0:
        return x.new_zeros(*shape[:dim], 0, size, *shape[dim + 1 :])
    shape[dim] = size - 1
    beyond = x.new_zeros(shape) if x.dtype == torch.bool else x.narrow(dim, -1, 1).expand(shape)
    return torch.cat([x, beyond], dim).unfold(dim, size, 1).movedim(-1, dim + 1)


def border_windows(begins: Tensor, size: int) -> Tensor:
    """What a segment of the sites from t on collects at each of them, begins (B, T, 2) saying what a site adds by whether
    a segment begins there: (B, T, size, 1)."""
    padded = pad(begins[..., :1], (0, 0, 0, size - 1))  # past the end 0
    further = windows(padded, 1, size)[:, : begins.shape[1], 1:]
    return torch.cat([begins[..., 1:].unsqueeze(2), further], 2)


def own_sites(x: Tensor, begins: Tensor, event: int) -> Tensor:
    """What the window of its own segment says of each site: x (*A, T, size, *E), with `event` axes E, and begins (*A, T),
    whether a segment begins there -> (*A, T, *E)."""
    sites = torch.arange(begins.shape[-1], device=begins.device)
    first = torch.where(begins > 0, sites, 0).cummax(-1).values
    at = x.dim() - event - 2
    index = first * x.shape[at + 1] + (sites - first).clamp(max=x.shape[at + 1] - 1)
    flat = x.flatten(at, at + 1)
    index = index.reshape(*index.shape, *[1] * event).expand(*index.shape, *flat.shape[at + 1 :])
    return flat.gather(at, index)


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
