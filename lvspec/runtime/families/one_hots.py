"""One-hot vectors side by side, kept as the places of their ones: a linear map of them adds up columns of its weight.

e_z1 .. e_zM, size K each, mapped by W (H, M K)      Σ_m W[:, m K + z_m], M additions of H numbers in place of M K H products
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lvspec.runtime.core.semiring import may_look
from lvspec.runtime.core.tensors import one_hot

__all__ = ["one_hots"]


class OneHots:
    """index (..., M) int64 below `size`: stands for a tensor (..., M size), which it becomes for whatever is no linear map."""

    def __init__(self, index: Tensor, size: int, like: Tensor):
        self.index, self.size, self.like = index, size, like

    def dense(self) -> Tensor:
        return one_hot(self.index, self.size, self.like).flatten(-2)

    def mapped(self, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """weight (H, M size), bias (H) -> (..., H)."""
        blocks = torch.arange(self.index.shape[-1], device=self.index.device) * self.size
        found = ColumnSums.apply(weight, (self.index + blocks).reshape(-1, len(blocks)))
        found = found.view(*self.index.shape[:-1], weight.shape[0])
        return found if bias is None else found + bias

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is nn.functional.linear and not torch.is_autocast_enabled(args[0].like.device.type):
            return args[0].mapped(*args[1:], **(kwargs or {}))
        return function(*(a.dense() if isinstance(a, cls) else a for a in args), **(kwargs or {}))


class ColumnSums(torch.autograd.Function):
    """weight (H, D), columns (N, M), no one twice in a row -> (N, H)."""

    @staticmethod
    def forward(ctx, weight, columns):
        ctx.save_for_backward(columns)
        ctx.inputs = weight.shape[1]
        return nn.functional.embedding_bag(columns, weight.t().contiguous(), mode="sum")

    @staticmethod
    def backward(ctx, grad):
        (columns,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of the gradient is wanted
            return grad.t() @ grad.new_zeros(len(columns), ctx.inputs).scatter_(1, columns, 1.0), None
        found = grad.new_zeros(ctx.inputs, grad.shape[1])
        for column in columns.unbind(1):
            found.index_add_(0, column, grad)
        return found.t(), None


def one_hots(index: Tensor, size: int, like: Tensor) -> OneHots | Tensor:
    """The one-hot vectors of index (..., M), side by side, in the dtype of `like`: (..., M size)."""
    found = OneHots(index, size, like)
    return found if may_look(like) and index.numel() else found.dense()
