"""The matrix-tree theorem as it is written: log det L, where L is so far from singular that rounding does not matter.

    L[m, m] = sum_h w(h, m),   L[h, m] = -w(h, m)         of one root: the first row is w(root, m), and in no sum

(Koo et al. 2007). Arcs are first divided by the sum over a word's heads, so that entries are at most 1.
An error of log det, and of a marginal, is at most about n eps |L^-1|: the inverse, which is the gradient, says so itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.core.in_probabilities import peak
from lvspec.runtime.core.semiring import widest
from lvspec.runtime.trees.spans import within

LARGEST_INVERSE = 1e4  # row sums of |L^-1|, in float64: marginals keep ten digits


class LogDeterminant(torch.autograd.Function):
    """log |det L| (B,) of L (B, n, n) with its inverse, which autograd takes as a constant."""

    @staticmethod
    def forward(ctx, matrix: Tensor, inverse: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(matrix, inverse)
        return value.clone()

    @staticmethod
    def backward(ctx, grad: Tensor):
        matrix, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative will be asked for
            inverse = torch.linalg.inv(matrix)
        return inverse.mT * grad.view(-1, 1, 1), None, None


def determinant_sum(arcs: Tensor, allowed: Tensor, lengths: Tensor, single_root: bool) -> Tensor | None:
    """log Z (B,) from arcs and which may be read (B, M, M), or None where it could be wrong."""
    M = arcs.shape[-1]
    if M < 2 or not len(lengths):
        return None
    arcs = widest(arcs[:, :, 1:]).masked_fill(~allowed[:, :, 1:], -torch.inf)
    words = within(lengths, M - 1)
    top = peak(arcs, 1)
    weights = (arcs - top).exp()
    total = weights.detach().sum(1, keepdim=True)
    total = total.masked_fill(total == 0, 1.0)
    weights, shift = weights / total, (top + total.log()).squeeze(1).masked_fill(~words, 0.0)
    root, pairs = weights[:, 0], weights[:, 1:]
    sums = pairs.sum(1) + (0.0 if single_root else root)
    matrix = torch.diag_embed(torch.where(words, sums, 1.0)) - pairs
    if single_root:
        first = torch.where(words[:, :1], root, matrix[:, 0])  # a sentence without words has one tree
        matrix = torch.cat([first.unsqueeze(1), matrix[:, 1:]], 1)
    with torch.no_grad():
        sign, value = torch.linalg.slogdet(matrix)
        inverse, failed = torch.linalg.inv_ex(matrix)
        largest = torch.linalg.matrix_norm(inverse, torch.inf)
    if not bool(((sign > 0) & (failed == 0) & (largest < LARGEST_INVERSE)).all()):
        return None
    return LogDeterminant.apply(matrix, inverse, value) + shift.sum(1)
