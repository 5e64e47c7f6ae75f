"""E_q[log p(x | theta)] by the expected statistics of theta: of conjugate pairs, elementwise."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def bernoulli_expected(value: Tensor, log: Tensor, log_not: Tensor) -> Tensor:
    """x E log p + (1 - x) E log(1 - p)."""
    return torch.where(value > 0.5, log, log_not)


def bernoulli_expected_table(log: Tensor, log_not: Tensor) -> Tensor:
    """The same at both values, along a last axis."""
    return torch.stack(torch.broadcast_tensors(log_not, log), -1)


def poisson_expected(value: Tensor, log: Tensor, mean: Tensor) -> Tensor:
    """x E log r - E r - log x!"""
    value = value.to(log.dtype)
    return value * log - mean - torch.lgamma(value + 1)


def exponential_expected(value: Tensor, log: Tensor, mean: Tensor) -> Tensor:
    """E log r - x E r; -inf below 0."""
    return (log - mean * value).masked_fill(value < 0, -torch.inf)


def normal_expected(value: Tensor, loc: Tensor, square: Tensor, log: Tensor, mean: Tensor) -> Tensor:
    """(E log tau - log 2 pi - E tau (x² - 2 x E mu + E mu²)) / 2: tau the precision, mu the mean."""
    # x² - 2 x E mu + E mu² = (x - E mu)² + Var mu: without cancellation
    return 0.5 * (log - math.log(2 * math.pi) - mean * ((value - loc) ** 2 + (square - loc**2)))
