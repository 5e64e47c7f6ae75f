"""Numbers and functions that several densities need."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOG_TWO_PI = math.log(2 * math.pi)


def as_tensor(value, like: Tensor) -> Tensor:
    """A number or a tensor as a tensor of like's dtype and device."""
    if isinstance(value, Tensor):
        return value.to(like.dtype)
    return torch.full((), value, dtype=like.dtype, device=like.device)


def x_log_y(x: Tensor, y: Tensor) -> Tensor:
    """x log y; at y = 0 without a gradient (torch.xlogy's is NaN there): 0 where x is 0, else -inf or, below 0, inf."""
    nothing = y == 0
    found = x * torch.where(nothing, torch.ones_like(y), y).log()
    return torch.where(nothing & (x != 0), -torch.inf * x.detach(), found)


def x_log_one_minus_y(x: Tensor, y: Tensor) -> Tensor:
    """x log(1 - y), 0 where x is 0 and y is 1, with gradient 0 there."""
    nothing = (x == 0) & (y == 1)
    return x * torch.log1p(-torch.where(nothing, torch.zeros_like(y), y))


def log_of(ratio: Tensor | float) -> Tensor | float:
    """log, also of what two plain numbers of a spec give."""
    return ratio.log() if isinstance(ratio, Tensor) else math.log(ratio)
