"""Averages under q: 0 where q is 0, whatever stands there."""

from __future__ import annotations

import torch
from torch import Tensor


def where_mass(log_q: Tensor, log_ratio: Tensor) -> Tensor:
    """log q - log p where q has mass, else 0: no expectation under q looks there, and -inf - -inf is no number."""
    return torch.where(log_q == -torch.inf, 0.0, log_ratio)


def expectation(log_q: Tensor, cost: Tensor, dim: int) -> Tensor:
    """E_q[cost] = Σ q·cost along `dim` (counted from the end), 0 where q is 0 whatever the cost is there."""
    return average(log_q.exp(), cost, dim)


def average(q: Tensor, cost: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """E_q[cost] = Σ q·cost over axes (counted from the end), q as probabilities; 0 where q is 0 whatever the cost is. A cost
    that is infinite says so, and moves no q: the gradients of other examples stay numbers."""
    cost = torch.where(q > 0, cost, 0.0)
    return (torch.where(cost.isinf(), q.detach(), q) * cost).sum(dim)
