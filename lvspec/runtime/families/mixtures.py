"""Logarithms of sums of products w exp(l), weights beside logarithms: right, with their gradients, where weights are 0 and where
logarithms are far below what exp of them can hold."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lvspec.runtime.core.semiring import finite_part, full_precision, plain_arithmetic
from lvspec.runtime.families.probs import logits_from_probs

__all__ = ["log_fraction", "log_mixture", "log_weighted_sum"]


def log_weighted_sum(weights: Tensor, logs: Tensor, dim: int) -> Tensor:
    """log Σ w exp(l) over dim, of weights and logarithms that broadcast; -inf, with gradient 0, where the sum is 0."""
    weights, logs = torch.broadcast_tensors(full_precision(weights), full_precision(logs))
    if not logs.shape[dim]:
        return logs.sum(dim) - torch.inf
    with plain_arithmetic(logs):
        counted = logs.detach().masked_fill(weights.detach() == 0, -torch.inf)
        top = finite_part(counted.amax(dim, keepdim=True))
        # what weighs nothing may lie above the others: the gradient of its weight ends where numbers do
        inside = (logs - top).clamp(max=0.9 * math.log(torch.finfo(logs.dtype).max))
        return logits_from_probs((weights * inside.exp()).sum(dim)) + top.squeeze(dim)


def log_mixture(*parts: tuple[Tensor | float, Tensor | float]) -> Tensor:
    """log Σ_k w_k exp(l_k) of pairs (w_k, l_k), whose tensors broadcast."""
    like = next(x for part in parts for x in part if isinstance(x, Tensor))
    columns = (
        [torch.as_tensor(x, dtype=like.dtype, device=like.device) for x in column]
        for column in zip(*parts, strict=True)
    )
    weights, logs = (torch.stack(torch.broadcast_tensors(*column), -1) for column in columns)
    return log_weighted_sum(weights, logs, -1)


def log_fraction(log_part: Tensor, log_whole: Tensor) -> Tensor:
    """log of a part of a whole; -inf where the whole is nothing."""
    return log_part - finite_part(log_whole)
