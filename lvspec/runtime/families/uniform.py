"""Uniform(low, high)."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.noise import standard_uniform
from lvspec.runtime.families.special import as_tensor

__all__ = ["Uniform"]


class Uniform(Distribution):
    """1 / (high - low) of low <= x < high (as torch.distributions), elementwise."""

    def __init__(self, low: Tensor, high: Tensor):
        self.low, self.high = low, high

    def log_prob(self, x: Tensor) -> Tensor:
        """-log(high - low), -inf outside."""
        low, high = as_tensor(self.low, x), as_tensor(self.high, x)
        inside = (x >= low) & (x < high)
        return (-(high - low).log()).expand(inside.shape).masked_fill(~inside, -torch.inf)

    def noise(self, lead: tuple[int, ...] = ()) -> Tensor:
        return standard_uniform((self.low, self.high), lead)

    def draw(self, noise: Tensor | None = None) -> Tensor:
        """low + (high - low) noise."""
        return self.low + (self.high - self.low) * (self.noise() if noise is None else noise)
