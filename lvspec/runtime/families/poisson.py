"""Poisson(rate)."""

from __future__ import annotations

import torch
from torch import Tensor

from lvspec.runtime.families.distribution import Distribution
from lvspec.runtime.families.special import x_log_y

__all__ = ["Poisson"]


class Poisson(Distribution):
    """rate^x exp(-rate) / x!, elementwise; at rate 0 all mass lies on 0."""

    def __init__(self, rate: Tensor):
        self.rate = rate

    def log_prob(self, x: Tensor) -> Tensor:
        """x log rate - rate - log x!."""
        x = x.to(self.rate.dtype)
        safe = x.clamp_min(0)
        return (x_log_y(safe, self.rate) - self.rate - torch.lgamma(safe + 1)).masked_fill(x < 0, -torch.inf)

    def sample(self, lead: tuple[int, ...] = ()) -> Tensor:
        return torch.poisson(self.rate.detach().expand((*lead, *self.rate.shape))).to(torch.int64)

    def kl(self, other: Poisson) -> Tensor:
        """q log q - q log p - q + p; p at q = 0."""
        return x_log_y(self.rate, self.rate) - x_log_y(self.rate, other.rate) - self.rate + other.rate

    @staticmethod
    def expected_log_prob(x: Tensor, log: Tensor, mean: Tensor) -> Tensor:
        """x E log r - E r - log x!, r the rate."""
        x = x.to(log.dtype)
        return x * log - mean - torch.lgamma(x + 1)
