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
    """x log y, 0 where both are 0, with gradient 0 there (torch.xlogy's is NaN)."""
    nothing = (x == 0) & (y == 0)
    return x * torch.where(nothing, torch.ones_like(y), y).log()


def x_log_one_minus_y(x: Tensor, y: Tensor) -> Tensor:
    """x log(1 - y), 0 where x is 0 and y is 1, with gradient 0 there."""
    nothing = (x == 0) & (y == 1)
    return x * torch.log1p(-torch.where(nothing, torch.zeros_like(y), y))


def log_of(ratio: Tensor | float) -> Tensor | float:
    """log, also of what two plain numbers of a spec give."""
    return ratio.log() if isinstance(ratio, Tensor) else math.log(ratio)
